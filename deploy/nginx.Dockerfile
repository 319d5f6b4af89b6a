# nginx in front of the api, as Debian keeps it up, on the base that the gateway's own image has.
FROM python:3.11-slim-bookworm

RUN apt-get update && apt-get install -y --no-install-recommends nginx-light && rm -rf /var/lib/apt/lists/*
COPY --chown=www-data nginx.conf /etc/nginx/nginx.conf

USER www-data
EXPOSE 8080
STOPSIGNAL SIGQUIT
CMD ["nginx", "-e", "stderr", "-g", "daemon off;"]
