# nginx from Debian, in front of the api, on the same base image as the gateway.
FROM python:3.11-slim-bookworm

RUN apt-get update && apt-get install -y --no-install-recommends nginx-light && rm -rf /var/lib/apt/lists/*
COPY --chown=www-data nginx.conf /etc/nginx/nginx.conf

USER www-data
EXPOSE 8080
STOPSIGNAL SIGQUIT
CMD ["nginx", "-e", "stderr", "-g", "daemon off;"]
