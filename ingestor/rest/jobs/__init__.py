"""The jobs that send REST requests, one file each."""
