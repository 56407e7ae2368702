"""What an hour of training on an instance type costs, on demand, in US dollars.

From the user (a mapping, a file, or the file that ``SM_TUNING_PRICES`` names), or else from the AWS Price List API,
which has one answer for all types of a region; it is kept on disk for a week.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from sm_tuning._cache_folder import cache_folder
from sm_tuning._errors import ServiceError
from sm_tuning._files import write_atomic
from sm_tuning._prices import PRICES_VARIABLE, Prices, read_prices
from sm_tuning.aws._aws import Aws

_FRESH = timedelta(days=7)
_LIST_REGION = "us-east-1"  # the Price List API answers for all regions of the partition from a few of them


class PriceList(NamedTuple):
    """Prices by instance type, and their source.

    Attributes:
        by_type: dollars an hour.
        source: where they come from; ``none`` without prices.
        problem: why prices are missing or invalid.
        error: what the Price List API failed with.
    """

    by_type: Mapping[str, float]
    source: str
    problem: str = ""
    error: ServiceError | None = None


class Pager(Protocol):
    """What makes a call for each page of an answer; a connection does."""

    def pages(self, service: str, method: str, /, **params: Any) -> Iterator[dict[str, Any]]:
        """The pages."""


def _itself(there: Aws) -> Pager:
    return there


def find_prices(
    aws: Aws,
    given: Prices = None,
    *,
    refresh: bool = False,
    now: datetime | None = None,
    on: Callable[[Aws], Pager] = _itself,
) -> PriceList:
    """Return the prices for the region of the connection.

    Prices that the user gives replace those of the Price List. A server on this machine has no prices, so no call is
    made for it.

    Args:
        aws: the connection.
        given: dollars an hour by instance type, or a file of them; ``SM_TUNING_PRICES`` names one when left out.
        refresh: asks again, also for what is kept.
        now: when that is; the machine's clock when left out.
        on: makes the calls of a connection, for who is more patient than it is.

    Raises:
        SpecError: the given prices cannot be read.
    """
    named = given if given is not None else aws.environ.get(PRICES_VARIABLE) or None
    if named is not None:
        return PriceList(read_prices(named), "given" if isinstance(named, Mapping) else str(named))
    if aws.is_local:
        return PriceList({}, "none", "a server on this machine has no prices")
    if not aws.region.startswith(("us-", "eu-", "ap-", "sa-", "ca-", "me-", "af-", "il-", "mx-")):
        return PriceList({}, "none", f"the Price List API does not know {aws.region}")
    return _listed(aws, now or datetime.now(UTC), on, refresh=refresh)


def _listed(aws: Aws, now: datetime, on: Callable[[Aws], Pager], *, refresh: bool) -> PriceList:
    """The Price List API's prices: from disk while they are fresh, else asked for."""
    folder = cache_folder(aws.environ)
    path = folder / "prices.json" if folder else None
    kept = _load(path) if path and not refresh else {}
    with suppress(KeyError, TypeError, ValueError):  # nothing is kept, or another program wrote the file
        entry = kept[aws.region]
        if now - datetime.fromisoformat(entry["asked"]) < _FRESH:
            prices = {str(name): float(price) for name, price in entry["prices"].items()}
            return PriceList(prices, f"AWS Price List, {entry['asked'][:10]}")
    try:
        prices, invalid = _ask(aws, on)
    except ServiceError as error:
        return PriceList({}, "none", f"the Price List API did not answer: {error}", error)
    asked = now.isoformat()
    if path and prices and not invalid:
        _save(path, {**kept, aws.region: {"asked": asked, "prices": prices}})
    problem = f"not a price: {', '.join(invalid)}" if invalid else ""
    return PriceList(prices, f"AWS Price List, {asked[:10]}", problem)


def _ask(aws: Aws, on: Callable[[Aws], Pager]) -> tuple[dict[str, float], list[str]]:
    """Return all training prices of the region, and invalid ones in words; one page has a hundred types."""
    filters = [
        {"Type": "TERM_MATCH", "Field": "regionCode", "Value": aws.region},
        {"Type": "TERM_MATCH", "Field": "component", "Value": "Training"},
    ]
    with aws.in_region(_LIST_REGION) as there:
        pages = on(there).pages("pricing", "get_products", ServiceCode="AmazonSageMaker", Filters=filters)
        return _prices_of(text for page in pages for text in page["PriceList"])


def _prices_of(products: Iterable[str]) -> tuple[dict[str, float], list[str]]:
    """Return dollars an hour by instance type (the highest, if a type has several), and invalid prices in words."""
    found: dict[str, float] = {}
    invalid: dict[str, str] = {}
    for text in products:
        try:
            product = json.loads(text)
            attributes = product["product"]["attributes"]
            terms = product.get("terms", {}).get("OnDemand", {}).values()
            dimensions = [entry for term in terms for entry in term.get("priceDimensions", {}).values()]
        except (ValueError, KeyError, AttributeError, TypeError):
            invalid["a product"] = "a product that cannot be read"
            continue
        name = _type_of(attributes)
        # Local zones and wavelength zones have the region's code as well, at other prices.
        if not name or attributes.get("locationType", "AWS Region") != "AWS Region":
            continue
        for dimension in dimensions:
            if str(dimension.get("unit", "")).lower() not in ("hrs", "hours", "hour"):
                continue
            amount: Any = (dimension.get("pricePerUnit") or {}).get("USD")
            try:
                price = float(amount)
            except (TypeError, ValueError):
                price = math.nan
            if not math.isfinite(price) or price < 0:
                if amount is not None:  # a list in another currency has no USD
                    invalid[name] = f"{name} {amount!r}"
            elif price > 0:
                found[name] = max(found.get(name, 0.0), price)
    return found, list(invalid.values())


def _type_of(attributes: Mapping[str, str]) -> str:
    """Return the instance type of a product, such as ``ml.m5.xlarge``; empty if it has none.

    Some products name it with a suffix (``ml.m5.xlarge-Training``), others only in ``USE1-Train:ml.m5.xlarge``.
    """
    name = attributes.get("instanceName") or attributes.get("instanceType") or ""
    if not name:
        usage, _, name = attributes.get("usagetype", "").rpartition(":")
        name = name if usage.rpartition("-")[2].lower() in ("train", "training") else ""
    name = re.sub("-training$", "", name, flags=re.IGNORECASE)
    return name if name.startswith("ml.") else ""


def _load(path: Path) -> dict[str, Any]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or a broken one: asked for again
        return {}
    return kept if isinstance(kept, dict) else {}


def _save(path: Path, kept: Mapping[str, Any]) -> None:
    """Keep the prices; a folder that cannot be written to costs only the next question."""
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(path, json.dumps(kept))
