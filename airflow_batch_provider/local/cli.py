"""``airflow-batch serve``: the embedded server on the command line."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.local.engines import ENGINES, make_engine

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``serve``."""
    parser.add_argument(
        "--engine", choices=ENGINES, default="llama", help="what answers the requests (default: %(default)s)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8900, help="port, 0 for any free one (default: %(default)s)")
    parser.add_argument("--data-dir", type=Path, required=True, help="where files and batches are kept")
    parser.add_argument(
        "--token", help="bearer token of every call (default: $AIRFLOW_BATCH_TOKEN, else one is generated and printed)"
    )
    parser.add_argument("--no-token", action="store_true", help="accept calls without a token, on loopback only")
    parser.add_argument(
        "--allow-host",
        metavar="NAME",
        action="append",
        default=[],
        help="also accept calls to this host name; repeatable",
    )
    parser.add_argument("--slots", type=int, default=4, help="requests answered at a time (default: %(default)s)")
    parser.add_argument("--window", type=float, default=86_400, help="seconds until a batch expires (default: 24 h)")
    parser.add_argument("--latency", type=float, default=0, help="echo: seconds that every answer takes")
    parser.add_argument("--model-path", help="llama: a .gguf file, or a folder that holds one")
    parser.add_argument("--upstream", metavar="URL", help="upstream: base URL of an OpenAI-compatible endpoint")
    parser.add_argument("--upstream-key-env", metavar="NAME", help="upstream: environment variable with its key")


def run(args: argparse.Namespace) -> int:
    """Serve until the process is stopped.

    :return: the exit code; 2 when an option or an installed part is missing or wrong.
    """
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        _serve(args)
    except ConfigurationError as error:
        print(f"airflow-batch serve: {error}", file=sys.stderr)
        return 2
    return 0


def _serve(args: argparse.Namespace) -> None:
    try:
        import python_multipart  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(f"{error.name} is missing: pip install 'airflow-batch-provider[local]'") from error
    from airflow_batch_provider.local.app import create_app
    from airflow_batch_provider.local.guard import kept_token
    from airflow_batch_provider.local.policy import Policy
    from airflow_batch_provider.local.server import serve
    from airflow_batch_provider.local.store import Store

    token = args.token or os.environ.get("AIRFLOW_BATCH_TOKEN")
    if args.no_token and token:
        raise ConfigurationError("--no-token and a token are given; remove one of them")
    if args.slots < 1 or args.window <= 0:
        raise ConfigurationError("--slots must be at least 1 and --window more than 0")
    if args.no_token and args.host not in _LOOPBACK:
        raise ConfigurationError(f"--host {args.host} is reachable from other machines; remove --no-token")
    store = Store(args.data_dir)
    made = not token and not args.no_token
    token = kept_token(args.data_dir) if made else token
    options = {**vars(args), "upstream_key": _key(args.upstream_key_env)}
    policy = Policy(token=token, slots=args.slots, window=args.window, hosts=(args.host, *args.allow_host))
    engine = make_engine(args.engine, options)
    notice = f"token: {token} (kept in {args.data_dir / 'token'})" if made else ""
    serve(create_app(store, engine, policy), args.host, args.port, notice)
    if engine.busy:  # a model in the middle of an answer cannot be stopped, and all that is to be kept is on the disk
        sys.stdout.flush()
        os._exit(0)


def _key(name: str | None) -> str | None:
    if name is None:
        return None
    if not os.environ.get(name):
        raise ConfigurationError(f"The environment variable {name} of --upstream-key-env is not set")
    return os.environ[name]
