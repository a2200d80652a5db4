"""Fetch the URLs given on the command line, one after the other: an application without a word about telemetry.

opentelemetry-instrument python examples/fetch.py http://127.0.0.1:8000/ http://127.0.0.1:8000/nothing
"""

import sys

import requests


def main(urls: list[str]) -> None:
    with requests.Session() as session:
        for url in urls:
            try:
                response = session.get(url, timeout=10)
            except requests.RequestException as error:
                print(f"{type(error).__name__} {url}")
            else:
                print(f"{response.status_code} {url}")


if __name__ == "__main__":
    main(sys.argv[1:])
