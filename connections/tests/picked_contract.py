"""The part of the contract suite in which systems differ most, for real applications and for a second set of habits.

The whole suite would take a minute for each of them; it runs against the small API of `connections.sandbox.rest`.
"""

from __future__ import annotations

import pytest

from connections.tests import contract_reading
from connections.tests.contract import HttpContract as Whole

# Some pages of a few records, where the suite makes pages of many.
RECORDS = 27


class PickedContract:
    """Picked by what systems do differently: times, versions, pages, deletions, filters, refusals."""

    @pytest.fixture(autouse=True)
    def few_records(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(contract_reading, "MANY", RECORDS)

    test_the_check = Whole.test_the_check_names_the_account_and_the_tenant_and_finds_nothing_missing
    test_normal = Whole.test_a_value_is_read_in_its_normal_form
    test_empty = Whole.test_empty_is_none_and_an_empty_set_is_a_list
    test_unknown_ids = Whole.test_unknown_and_malformed_ids_are_absent
    test_more_ids = Whole.test_more_ids_than_one_call_takes_are_all_read
    test_deleted_absent = Whole.test_a_deleted_record_is_absent_or_says_that_it_is_deleted
    test_pages = Whole.test_without_a_watermark_all_records_come_oldest_first_over_all_pages
    test_lists_tell = Whole.test_lists_tell_the_values_of_a_direct_read_or_none_where_they_lag
    test_inclusive = Whole.test_the_boundary_is_inclusive
    test_after_the_last_page = Whole.test_an_edit_after_the_last_page_is_found_from_its_watermark
    test_while_pages = Whole.test_an_edit_while_pages_are_read_is_not_lost
    test_empty_listing = Whole.test_an_empty_listing_is_one_last_page_that_leads_on
    test_watermark_moves = Whole.test_a_watermark_moves_back_by_seconds_and_forth_again
    test_deletions_listed = Whole.test_deletions_are_listed_only_where_declared
    test_scope = Whole.test_all_ways_to_ask_for_the_scope_agree
    test_left_scope = Whole.test_a_record_that_left_the_scope_is_out_of_it_at_once
    test_in_no_scope = Whole.test_unknown_and_deleted_records_are_in_no_scope
    test_nasty = Whole.test_a_text_is_found_whatever_signs_it_holds_and_nothing_beside_it
    test_case = Whole.test_a_look_up_ignores_case_and_takes_many_values
    test_look_up_scope = Whole.test_a_look_up_stays_within_the_scope_and_leaves_deleted_records_out
    test_update = Whole.test_an_update_writes_its_value_and_nothing_else
    test_many_values = Whole.test_many_values_are_written_at_once_and_read_back_with_the_rest
    test_clears = Whole.test_an_empty_value_clears_or_is_refused_by_name
    test_odd_texts = Whole.test_odd_texts_are_written_as_they_are
    test_version = Whole.test_an_edit_changes_the_version_and_a_read_does_not
    test_exact = Whole.test_an_exact_version_tells_two_edits_of_one_moment_apart_and_another_is_a_time
    test_old_version = Whole.test_a_write_under_an_old_version_is_refused_only_where_declared
    test_resolution = Whole.test_changes_closer_together_than_the_declared_resolution_may_pass_and_others_not
    test_create = Whole.test_a_create_writes_its_values_under_its_key_and_reads_them_back
    test_create_in_scope = Whole.test_a_created_record_lies_in_the_scope
    test_same_key = Whole.test_the_same_key_twice_makes_one_record_only_where_declared
    test_keys = Whole.test_keys_that_differ_make_different_records
    test_given_a_key = Whole.test_a_record_of_somebody_else_can_be_given_a_key_and_keeps_all_else
    test_gone = Whole.test_a_deleted_record_is_gone_from_everything
    test_certain = Whole.test_a_record_that_is_not_found_is_gone_for_certain_only_where_declared
    test_malformed = Whole.test_malformed_ids_reach_no_other_record
    test_lost_create = Whole.test_a_create_that_was_not_answered_carries_its_key_all_the_same
    test_one_call = Whole.test_a_write_is_one_call_where_it_returns_its_record
