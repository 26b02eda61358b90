"""What SQL connectors make of texts and values, without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from connections.connectors import sql_keys as keys
from connections.connectors import sql_outbox as outbox
from connections.connectors import sql_positions as positions
from connections.connectors import sql_values as values
from connections.connectors.base import Expired, Field, NotAllowed, Refused, Uncertain
from connections.connectors.sql_declared import Declared, declared_people, declared_tables
from connections.connectors.sql_errors import error_of_commit
from connections.connectors.sql_shape import options_in
from connections.guard import AddressRefused
from connections.guard_database import check_database_address

NOW = "2026-01-01T10:00:00Z"
BERLIN = ZoneInfo("Europe/Berlin")


def column(stored: str, **options: Any) -> values.Column:
    shown = Field("c", "C", values.KIND_OF.get(stored, "text"), max_length=options.pop("max_length", None))
    zone = options.pop("zone", ZoneInfo("UTC"))
    return values.Column("c", stored, shown, sa.column("c"), zone, **options)


class TestPositions:
    def test_an_open_line_holds_the_position_back_and_a_later_one_does_not(self):
        at = dict.fromkeys(range(1, 6), "2026-01-01T09:59:59Z")
        assert outbox.horizon_of(1, [1, 2, 3, 4, 5], {1, 2, 4, 5}, at, NOW) == 3
        assert outbox.horizon_of(1, [1, 2, 3, 4, 5], {1, 2, 3, 4, 5}, at, NOW) == 6
        assert outbox.horizon_of(7, [], set(), {}, NOW) == 7

    def test_a_number_nobody_wrote_yet_is_waited_for_and_in_the_end_passed(self):
        young, old = "2026-01-01T09:59:30Z", "2026-01-01T09:58:00Z"
        assert outbox.horizon_of(1, [1, 3], {1, 3}, {1: young, 3: young}, NOW) == 2
        assert outbox.horizon_of(1, [1, 3], {1, 3}, {1: old, 3: old}, NOW) == 4
        assert outbox.horizon_of(1, [3], {3}, {3: young}, NOW) == 1

    def test_what_was_written_after_the_first_look_is_not_passed(self):
        """Line 5 was committed between the two looks, and 4 may still be on its way."""
        at = dict.fromkeys((1, 2, 3, 5), "2026-01-01T09:59:59Z")
        assert outbox.horizon_of(1, [1, 2, 3], {1, 2, 3, 5}, at, NOW) == 4

    def test_a_place_moved_back_still_holds_and_reads_the_time_before_again(self):
        exact = positions.Outbox(at=NOW, place=70, seen=NOW)
        assert positions.shifted(exact.text(), 0) == exact.text()
        assert exact.overlap == ""
        back = positions.Outbox.read(positions.shifted(exact.text(), 120))
        assert (back.place, back.seen, back.overlap) == (70, NOW, "2026-01-01T09:58:00Z")

    def test_a_listing_that_goes_on_is_not_moved(self):
        going = positions.Outbox(at=NOW, place=70, seen=NOW, after=(None, "a|b"))
        assert positions.Outbox.read(positions.shifted(going.text(), 60)) == going

    def test_a_number_goes_back_to_what_it_was_then_and_to_the_beginning_where_that_is_not_known(self):
        first = positions.Numbers(((NOW, "100"), (NOW, "")))
        assert positions.Numbers.read(positions.shifted(first.text(), 1200)).number == ""
        reached, at = first, datetime(2026, 1, 1, 10, tzinfo=UTC)
        for n in range(400):  # a poll every five seconds
            at += timedelta(seconds=5)
            reached = reached.moved(values.stamp(at), str(100 + n))
            assert len(reached.text()) <= 300 and len(reached.entries) <= positions.ENTRIES
        then = positions.Numbers.read(positions.shifted(reached.text(), 1200))
        assert then.number == "" or int(then.number) <= 100 + 400 - 240

    def test_lines_that_may_be_missing_are_told(self):
        seen = positions.Outbox(at=NOW, place=1, seen=NOW)
        outbox.check_seen("t", seen, NOW, "2026-01-01T09:00:00Z")
        with pytest.raises(Expired):  # installed anew since
            outbox.check_seen("t", seen, NOW, "2026-01-01T10:00:00.5Z")
        with pytest.raises(Expired):  # swept
            outbox.check_seen("t", seen, "2026-01-09T10:00:00Z", "2025-01-01T00:00:00Z")
        with pytest.raises(NotAllowed, match="Triggers"):
            outbox.check_seen("t", seen, NOW, None)


class TestKeys:
    KEY = (column(values.TEXT), column(values.INTEGER))

    @given(st.text(min_size=1, max_size=20), st.integers(-(2**63), 2**63 - 1))
    def test_a_composite_key_is_one_id_and_comes_back(self, text: str, number: int):
        id_ = keys.id_of(self.KEY, (text, number))
        assert id_ is None or "\x00" in text or keys.parsed(self.KEY, id_, "sqlite") == (text, number)

    @given(st.tuples(st.text(max_size=5), st.integers(0, 9)), st.tuples(st.text(max_size=5), st.integers(0, 9)))
    def test_two_keys_never_are_one_id(self, one: tuple[str, int], other: tuple[str, int]):
        assert (keys.id_of(self.KEY, one) == keys.id_of(self.KEY, other)) == (one == other)

    @pytest.mark.parametrize("text", ["", "01", "+1", "1.0", " 1", "1 ", "１", "9" * 25, "1~2", "x'; --"])
    def test_what_is_no_id_is_the_id_of_no_row(self, text: str):
        assert keys.parsed([column(values.INTEGER)], text, "postgresql") is None


class TestValues:
    def test_a_decimal_keeps_every_digit_or_says_that_it_cannot_be_told(self):
        assert values.number(Decimal("12.50")) == 12.5
        assert values.number(Decimal("123456789012345678901234567890")) == 123456789012345678901234567890
        for untellable in (Decimal("0.12345678901234567890"), Decimal("NaN"), float("inf")):
            with pytest.raises(values.Untellable):
                values.number(untellable)

    @given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**10), max_value=10**10))
    def test_a_decimal_read_and_written_is_the_same(self, stored: Decimal):
        assert values.stored(column(values.DECIMAL), values.number(stored) or 0, "postgresql") == stored

    def test_times_without_a_zone_are_of_the_declared_one(self):
        local = column(values.LOCAL, zone=BERLIN)
        assert values.normal(local, "2026-07-01 12:00:00") == "2026-07-01T10:00:00Z"
        assert values.stored(local, "2026-07-01T10:00:00Z", "mysql") == datetime(2026, 7, 1, 12)
        assert values.normal(column(values.INSTANT), "2026-07-01 12:00:00.5+02") == "2026-07-01T10:00:00.500000Z"

    def test_a_position_before_the_clocks_go_back_reads_the_hour_that_comes_twice(self):
        before = datetime(2026, 10, 25, 0, 37, tzinfo=UTC)  # 02:37 for the first time in Berlin
        assert values.earliest_local(before, BERLIN) <= datetime(2026, 10, 25, 2, 0)
        assert values.earliest_local(datetime(2026, 6, 1, tzinfo=UTC), BERLIN) == datetime(2026, 6, 1, 2)

    @pytest.mark.parametrize(
        ("stored", "raw"),
        [
            (values.INSTANT, "infinity"),
            (values.DATE, "0000-00-00"),
            (values.DATE, "someday"),
            (values.BOOLEAN, 7),
            (values.TIME, timedelta(days=3)),
            (values.JSON, "{"),
        ],
    )
    def test_what_has_no_normal_form_is_untellable_and_not_empty(self, stored: str, raw: Any):
        with pytest.raises(values.Untellable):
            values.normal(column(stored), raw)

    def test_json_is_one_text_whatever_its_spaces_and_keeps_its_numbers(self):
        assert values.canonical_json('{"b": 1.10, "a": [null, "ü"]}') == '{"a":[null,"ü"],"b":1.10}'
        assert values.canonical_json("null") == "null"
        assert values.canonical_json("{") is None

    @pytest.mark.parametrize(
        ("stored", "value"),
        [
            (values.INTEGER, 1.5),
            (values.INTEGER, True),
            (values.DECIMAL, "many"),
            (values.BOOLEAN, "yes"),
            (values.DATE, "01.02.2026"),
            (values.UUID, "x"),
            (values.JSON, "{"),
            (values.TEXT, "a\x00b"),
            (values.LIST, "a,b"),
        ],
    )
    def test_a_value_that_does_not_fit_is_refused_and_not_bent(self, stored: str, value: Any):
        with pytest.raises(ValueError):
            values.stored(column(stored), value, "postgresql")


class TestDeclared:
    def test_a_line_says_what_the_database_does_not(self):
        text = "orders: key=no+line, changed=updated_at\n\n sales.people : hidden = salary + iban "
        assert declared_tables(text) == {
            "orders": Declared(key=("no", "line"), changed="updated_at"),
            "sales.people": Declared(hidden=("salary", "iban")),
        }

    @pytest.mark.parametrize("line", ["orders", "orders: color=red", "orders: changed=a+b", "orders: key", ": key=a"])
    def test_a_line_that_cannot_be_read_is_said_and_not_guessed(self, line: str):
        with pytest.raises(NotAllowed, match="Line 1 of Tables"):
            declared_tables(line)

    def test_people_need_an_address(self):
        with pytest.raises(NotAllowed, match="e-mail"):
            declared_people("users: name=name")

    def test_options_are_read_from_a_check_that_lists_texts_and_from_no_other(self):
        assert options_in("status IN ('New', 'O''Brien')") == ("status", ("New", "O'Brien"))
        listed = "((status)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[]))"
        assert options_in(listed) == ("status", ("a", "b"))
        for other in ("amount > 0", "status IN ('a') OR amount > 0", "length(status) > 3", "amount IN (1, 2)"):
            assert options_in(other) is None


class TestAddresses:
    @pytest.mark.parametrize(
        "address",
        [
            "https://db.example.com/shop",
            "postgresql://ana:secret@db.example.com/shop",
            "postgresql://db.example.com:22/shop",
            "postgresql://10.0.0.7/shop",
            "postgresql://169.254.169.254/shop",
            "postgresql://0x7f.1/shop",
        ],
    )
    def test_an_address_that_no_database_may_have_is_refused(self, address: str, settings: Any):
        settings.ALLOWED_PRIVATE_ADDRESSES = []
        with pytest.raises(AddressRefused):
            check_database_address(address, ("postgresql",))

    def test_ordinary_addresses_are_taken(self, settings: Any):
        settings.ALLOWED_PRIVATE_ADDRESSES = []
        check_database_address("postgresql://db.example.com/shop", ("postgresql",))
        check_database_address("mariadb://db.example.com:3307/shop", ("mysql", "mariadb"))
        check_database_address("sqlite:///shop.db", ("sqlite",))


def test_a_commit_without_an_answer_is_uncertain_and_a_refused_one_is_not():
    lost = sa.exc.OperationalError("COMMIT", {}, Exception("server closed the connection"))
    assert isinstance(error_of_commit("Shop", lost), Uncertain)
    refused = sa.exc.IntegrityError("COMMIT", {}, type("E", (Exception,), {"sqlstate": "23503"})("no such product"))
    assert isinstance(error_of_commit("Shop", refused), Refused)
    unknown = type("E", (Exception,), {"sqlstate": "40003"})("statement completion unknown")
    assert isinstance(error_of_commit("Shop", sa.exc.OperationalError("COMMIT", {}, unknown)), Uncertain)
