"""The options of curl that the README uses, for machines without curl."""

import sys
import urllib.error
import urllib.request


def main(arguments: list[str]) -> int:
    method = ""
    data = None
    headers = {}
    url = ""
    given = iter(arguments)
    for argument in given:
        match argument:
            case "-X":
                method = next(given)
            case "-d":
                data = next(given)
            case "-H":
                name, _, value = next(given).partition(":")
                headers[name] = value.strip()
            case "-sS":
                pass
            case _:
                url = argument
    request = urllib.request.Request(url, data.encode() if data else None, headers, method=method or None)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            sys.stdout.write(answer.read().decode())
    except urllib.error.HTTPError as refused:
        sys.stdout.write(refused.read().decode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
