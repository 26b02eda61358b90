"""What a connection to a described API can do, as its description says. Pure."""

from __future__ import annotations

from dataclasses import replace

from connections.connectors.base import Capabilities
from connections.connectors.rest_definition import Definition, ObjectType

# A record made a moment ago is looked for in lists again after this long, where its API promises nothing.
SETTLE_SECONDS = 60.0
# Added to a list's own lag: transactions that commit late, clocks of several servers.
LATE_SECONDS = 60.0
LEAST_OVERLAP = 5.0


def of_type(definition: Definition, each: ObjectType) -> Capabilities:
    """What holds for one object type."""
    listing, key, condition, trust = each.list, each.key, each.condition, each.trust
    changed = listing.changed if listing else None
    lag = listing.lag if listing else 0.0
    granularity = changed.granularity if changed else 1.0
    # ⚑ A list that only names records shows no key of theirs; what its search finds is read.
    finds = bool(key and key.read and listing and not listing.lag and (listing.complete or key.search))
    return Capabilities(
        bulk_read=each.read_many.size if each.read_many else 1,
        conditional_write=bool(condition),
        conditional_resolution=condition.resolution if condition else 0.0,
        idempotent_create=bool(key and key.header),
        create_lookup_consistent=finds and bool(key and not key.settle),
        settle_seconds=max(key.settle if key else 0.0, lag) or SETTLE_SECONDS,
        lists_lag=bool(listing and (listing.lag or not listing.complete)),
        lists_changes=bool(changed),
        lists_deletions=bool(listing and listing.deleted and changed),
        not_found_means_gone=trust.not_found_is_gone,
        not_found_tells_nothing=trust.not_found_tells_nothing,
        write_returns_record=bool(each.update and each.update.record and not each.update.whole),
        whole_records=bool(each.update and each.update.whole),
        exact_version=bool(each.place.version and each.place.version_counts),
        watermark_granularity=granularity,
        stamp_granularity=granularity,
        overlap=max(LEAST_OVERLAP, 2 * granularity),
        lookback=LATE_SECONDS + lag + granularity,
        concurrency=definition.limits.concurrency,
        rate_per_second=definition.limits.per_second,
        bell="webhook" if definition.webhook else "none",
    )


def of_connection(definition: Definition) -> Capabilities:
    """What holds for every object type that can be kept in agreement: the weakest of their promises.

    How a create is found again is asked of the object type itself, so that the strongest is told here.
    """
    each = [of_type(definition, one) for one in definition.object_types if not one.parent]
    if not each:
        limits = definition.limits
        return Capabilities(concurrency=limits.concurrency, rate_per_second=limits.per_second)
    return replace(
        each[0],
        bulk_read=min(one.bulk_read for one in each),
        conditional_write=all(one.conditional_write for one in each),
        conditional_resolution=max(one.conditional_resolution for one in each)
        if all(one.conditional_write for one in each)
        else 0.0,
        idempotent_create=any(one.idempotent_create for one in each),
        create_lookup_consistent=any(one.create_lookup_consistent for one in each),
        settle_seconds=max(one.settle_seconds for one in each),
        lists_lag=any(one.lists_lag for one in each),
        lists_changes=all(one.lists_changes for one in each),
        lists_deletions=all(one.lists_deletions for one in each),
        not_found_means_gone=all(one.not_found_means_gone for one in each),
        not_found_tells_nothing=any(one.not_found_tells_nothing for one in each),
        write_returns_record=all(one.write_returns_record for one in each),
        whole_records=any(one.whole_records for one in each),
        exact_version=all(one.exact_version for one in each),
        watermark_granularity=max(one.watermark_granularity for one in each),
        stamp_granularity=max(one.stamp_granularity for one in each),
        overlap=max(one.overlap for one in each),
        lookback=max(one.lookback for one in each),
    )


def told_apart(able: Capabilities, own: Capabilities) -> Capabilities:
    """The connection's capabilities with what one object type says of its creates, and of what is not found."""
    return replace(
        able,
        idempotent_create=own.idempotent_create,
        create_lookup_consistent=own.create_lookup_consistent,
        not_found_tells_nothing=own.not_found_tells_nothing,
    )
