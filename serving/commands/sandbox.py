"""``huika sandbox``: the partners outside, to try things against."""

from __future__ import annotations

from typing import Annotated

import typer


def sandbox(
    port: Annotated[int, typer.Option(help="Port on this machine.", min=1, max=65_535)] = 8800,
    seed: Annotated[int, typer.Option(help="Of what fails by chance.")] = 7,
    hang: Annotated[float, typer.Option(help="Seconds that a hanging answer takes.", min=0, max=600)] = 30.0,
) -> None:
    """Run stand-ins for issuer, checks, carrier and payout provider on 127.0.0.1, in memory. 沙箱：模拟外部合作方。

    What a request meets is chosen by the last two digits of its card number or reference, by an X-Sandbox header or by
    POST /sandbox/scenario; docs/sandbox.md has the table.
    """
    import uvicorn

    from serving.sandbox.app import create_app

    base = f"http://127.0.0.1:{port}"
    print(f"sandbox at {base}; GET {base}/sandbox/log shows what it was asked. For huika.toml:\n\n[adapters]")
    for name in ("issuer", "identity", "device", "bureau", "credit", "logistics", "wallet"):
        print(f'{name}_url = "{base}/{name}"')
    print(f'\n[books]\npayout_url = "{base}"', flush=True)
    uvicorn.run(create_app(seed=seed, hang_seconds=hang), host="127.0.0.1", port=port, log_level="warning")
