"""Bugs that a plausible engine could have, each with the tests that must notice it. Run by mutants.py.

`find` occurs exactly once in its file; where the code moves, the bug moves with it.
"""

from __future__ import annotations

from dataclasses import dataclass

ANSWERED_CREATES = "sync/tests/test_engine_answered_creates.py"
APPROVALS = "sync/tests/test_approvals.py"
CIRCLES = "sync/tests/test_engine_circles.py"
EDITED_CREATES = "sync/tests/test_engine_edited_creates.py"
ENGINE = "sync/tests/test_engine.py"
GUARDS = "sync/tests/test_engine_guards.py"
HIDDEN_KEYS = "sync/tests/test_engine_hidden_keys.py"
INBOX = "sync/tests/test_engine_inbox.py"
NEWEST = "sync/tests/test_engine_newest.py"
NOT_LOOKED_UP = "sync/tests/test_not_looked_up.py"
RETEST = "sync/tests/test_retest.py"
SCHEMA_LOOKS = "sync/tests/test_engine_schema_looks.py"
SCHEMA_PAGES = "sync/tests/test_schema_pages.py"
MERGE_LAWS = "sync/tests/test_merge_properties.py"
PLAN_LAWS = "sync/tests/test_plan_properties.py"


@dataclass(frozen=True)
class Bug:
    name: str
    says: str  # what the broken code does
    file: str
    find: str
    put: str
    tests: tuple[str, ...]  # files, or tests of them, of which one must fail


BUGS = [
    # Reading. ------------------------------------------------------------------------------------------------------
    Bug(
        "poll-exclusive-jira",
        "> for >=: what was changed in the very moment of the watermark is not listed",
        "connections/connectors/jira.py",
        'since = f"updated >= {watermark}"',
        'since = f"updated > {watermark}"',
        ("connections/tests/test_connector_jira.py",),
    ),
    Bug(
        "list-that-is-not-shown-read-as-empty",
        "what a described API picks out of a list, or joins, counts as emptied where the record does not show it",
        "connections/connectors/rest_records.py",
        'if field.absent == "hidden" and lacks(expression, raw):',
        'if field.absent == "hidden" and expression.replace(".", "").isidentifier() and lacks(expression, raw):',
        (
            "connections/tests/test_rest_absent.py"
            "::test_a_field_whose_place_a_record_lacks_is_unreadable_unless_that_means_empty",
        ),
    ),
    Bug(
        "gone-from-every-record-unsaid",
        "a described field that no record has any more waits for ever, and nobody is told",
        "sync/schema_watch.py",
        "            hidden = connector.hidden_everywhere(object_type, doubtful, scope)\n",
        "            hidden = ()\n",
        (
            "sync/tests/test_engine_rest.py::"
            "test_a_described_field_that_no_record_has_any_more_stands_still_with_an_entry_that_closes_by_itself",
        ),
    ),
    Bug(
        "lacked-by-one-counts-for-all",
        "a described field stands still for all records because one of them lacks it",
        "connections/connectors/rest_objects.py",
        "        return set(frozenset.intersection(*told)) if told else set()\n",
        "        return set(fields)\n",
        ("sync/tests/test_engine_rest.py::test_a_field_that_one_record_alone_lacks_is_no_change_of_its_system",),
    ),
    Bug(
        "look-of-another-mapping-not-judged",
        "a changed field that another mapping looked into is merged here as if it were the old one",
        "sync/schema_watch.py",
        "        judge(session, looks)\n        return True\n",
        "        return True\n",
        (SCHEMA_LOOKS,),
    ),
    Bug(
        "look-about-other-records-believed",
        "a look because some records never had the field counts as one about the field that is hidden, or retyped, now",
        "sync/schema_watch.py",
        '    return known is not None and how in ("unshown", known.removeprefix(LISTED))\n',
        "    return known is not None\n",
        (SCHEMA_LOOKS,),
    ),
    Bug(
        "fields-not-read-when-a-person-asks",
        "to try an entry about a changed field again does nothing, and the page says that the fields are read",
        "sync/retrying.py",
        "                schema_watch.look_soon(mapping)\n",
        "",
        (f"{SCHEMA_PAGES}::FailuresTests",),
    ),
    Bug(
        "fields-read-for-a-reviewer",
        "who may only answer questions has the fields of both systems read",
        "sync/failures.py",
        " | ABOUT_FIELDS & permitted(others)),",
        " | ABOUT_FIELDS & permitted(questions)),",
        (f"{SCHEMA_PAGES}::FailuresTests",),
    ),
    Bug(
        "changed-field-told-as-any-failure",
        "the cause of a field that changed says nothing of what its kind takes",
        "sync/views/_failures.py",
        "    if failures.about_fields(entry):\n",
        "    if False:\n",
        (f"{SCHEMA_PAGES}::FailuresTests",),
    ),
    Bug(
        "new-record-decided-before-its-field-is-known",
        "a new record whose match field is hidden for a moment is copied although its twin is there",
        "sync/look.py",
        "        new = [one for one in unlinked if _lacks(reading, waiting, {one.side: one.record.external_id})]\n",
        "        new: list[Unlinked] = []\n",
        (f"{HIDDEN_KEYS}::test_a_new_record_is_neither_matched_nor_copied_while_nobody_knows_why_it_lacks_a_field",),
    ),
    Bug(
        "create-repeated-before-its-field-is-known",
        "a create is sent again without a value, since the field of its record is hidden for a moment",
        "sync/look.py",
        "        later = [link for link in links if link.state in TO_MATCH and _lacks(reading, waiting, _ids(link))]\n",
        "        later: list[Link] = []\n",
        (f"{HIDDEN_KEYS}::test_a_create_is_not_repeated_while_nobody_knows_why_its_record_lacks_a_field",),
    ),
    Bug(
        "hidden-match-field-is-empty",
        "a record that hides its match field counts as one without a key, and is copied although its twin is there",
        "sync/plan_unlinked.py",
        "    if unread_ways(mapping, side, record):\n",
        "    if False:\n",
        (f"{HIDDEN_KEYS}::test_a_record_that_hides_its_match_field_waits_until_it_shows_it",),
    ),
    Bug(
        "hidden-match-field-waits-untold",
        "a record waits because it hides its match field, for ever perhaps, and nobody is told",
        "sync/held_back.py",
        "    hints.fail_all([_told(code, [hint], version) for code, hint, version in kept if code in SAYS])\n",
        "    hints.postpone([hint for code, hint, _ in kept if code in SAYS], UNREAD_SECONDS)\n",
        (f"{HIDDEN_KEYS}::test_a_record_that_hides_its_match_field_waits_until_it_shows_it",),
    ),
    Bug(
        "noted-key-forgotten-when-hidden",
        "what was noted of a record is forgotten as soon as it hides its match field: nobody finds it any more",
        "sync/matching.py",
        "        kept = [row.pk for row in before if row.alternative in unread[row.external_id]]\n",
        "        kept: list[int] = []\n",
        (f"{HIDDEN_KEYS}::test_what_was_noted_of_a_record_stays_while_it_hides_its_match_field",),
    ),
    Bug(
        "create-given-up-when-the-match-field-is-hidden",
        "a twin that was still to be made is never made once its record hid its match field for a while",
        "sync/decide.py",
        "    if isinstance(decision, Hold) and held_back.keep(decision.code, mine, _version(records)):\n",
        "    if False:\n",
        (f"{HIDDEN_KEYS}::test_a_create_is_not_repeated_while_its_record_hides_the_match_field",),
    ),
    Bug(
        "hidden-is-another-thing",
        "a record that is back and hides its match field is taken for another thing, and its pair never resumes",
        "sync/matching.py",
        "    return None if hidden else False\n",
        "    return False\n",
        (f"{HIDDEN_KEYS}::test_a_pair_that_is_back_waits_while_one_hides_what_tells_that_it_is_the_same",),
    ),
    Bug(
        "noted-key-believed-when-hidden",
        "a new record is linked by what the other one said before it hid its match field",
        "sync/matching.py",
        "            if hiding:  # what they said when they were noted may be true no more\n",
        "            if False:\n",
        (f"{HIDDEN_KEYS}::test_nothing_is_copied_while_what_it_may_fit_hides_the_match_field",),
    ),
    Bug(
        "found-but-hidden-is-another",
        "a record that the other system finds, and that hides its match field, is taken for another thing",
        "sync/matching.py",
        "            if hidden and may_fit(session.compiled, number, one.side, one.record, record):\n",
        "            if False:\n",
        (f"{HIDDEN_KEYS}::test_nothing_is_copied_while_what_it_may_fit_hides_the_match_field",),
    ),
    Bug(
        "one-that-hides-holds-all",
        "one record over there that hides its match field holds all new ones that are looked up with it",
        "sync/matching.py",
        "    if not hidden or not known or len(asking) == 1:\n",
        "    if True:\n",
        (f"{HIDDEN_KEYS}::test_only_what_may_fit_a_record_that_hides_its_match_field_waits",),
    ),
    Bug(
        "unlisted-match-field-not-asked-by",
        "a record is copied unasked, since the match field by which its twin is found is not listed at the moment",
        "sync/matching.py",
        "                        if not found[id(one)].candidates:\n",
        "                        if False:\n",
        (f"{HIDDEN_KEYS}::test_nothing_is_copied_while_no_list_has_the_field_by_which_it_would_be_found",),
    ),
    Bug(
        "found-put-right-without-a-list",
        "while the fields for a new scope are not listed, what was found ends, and a retyped field is written again",
        "sync/schema_watch.py",
        "else one.side not in lists_now)",
        "else False)",
        (SCHEMA_LOOKS,),
    ),
    Bug(
        "another-form-merged-before-the-look",
        "a value of another form is merged where its field was looked at a moment ago, or the look is not answered",
        "sync/schema_watch.py",
        "            _cover(session, side, reading.records[side], odd.keys())\n",
        "",
        (SCHEMA_LOOKS,),
    ),
    Bug(
        "look-without-an-answer-believed",
        "a look that was not answered counts as one, and the hint of an edit in a hidden field goes",
        "sync/schema_watch.py",
        "    return answered\n",
        "    return True\n",
        (SCHEMA_LOOKS,),
    ),
    Bug(
        "poll-exclusive-salesforce",
        "> for >=: what was changed in the second of the watermark is not listed",
        "connections/connectors/salesforce.py",
        'since = f"{shape.stamp} >= {soql.moment(watermark)}"',
        'since = f"{shape.stamp} > {soql.moment(watermark)}"',
        ("connections/tests/test_connector_salesforce.py",),
    ),
    Bug(
        "cursor-before-commit",
        "the cursor moves before the hints of its page are stored",
        "sync/read.py",
        """            with transaction.atomic():
                session.lease.renew()
                links = _links_of(""",
        """            if page.watermark is not None and page.last:
                Cursor.objects.filter(pk=cursor.pk).update(watermark=page.watermark)
            with transaction.atomic():
                session.lease.renew()
                links = _links_of(""",
        (f"{INBOX}::test_a_worker_that_loses_its_lease_while_it_lists_moves_no_cursor",),
    ),
    Bug(
        "cursor-with-every-page",
        "an interrupted listing moves the cursor although its last pages were not seen",
        "sync/read.py",
        "                if page.last:\n",
        "                if True:\n",
        (f"{INBOX}::test_a_list_that_breaks_off_is_read_again_from_where_it_began",),
    ),
    Bug(
        "row-without-a-time-listed-once",
        "a new row whose changed column is empty is in no list but the first",
        "connections/connectors/sql_changes.py",
        "    if _may_say_nothing(listing) and not resumed:\n",
        "    if _may_say_nothing(listing) and not resumed and begin is None:\n",
        ("sync/tests/test_engine_sql_files.py::test_a_new_row_whose_changed_column_only_an_edit_fills_goes_over",),
    ),
    Bug(
        "no-deep-look-back",
        "a change that shows in lists late is never listed again",
        "sync/read.py",
        "2 * limits.lookback if deep else limits.overlap",
        "limits.overlap",
        (f"{INBOX}::test_a_change_that_shows_in_lists_late_is_listed_by_a_look_further_back",),
    ),
    Bug(
        "version-filter-on-times",
        "a record is skipped because its time stamp is known, although a time is no version",
        "sync/read.py",
        "    return able.exact_version or not able.lists_changes\n",
        "    return True\n",
        (f"{INBOX}::test_a_time_stamp_is_no_version_two_edits_can_share_one",),
    ),
    Bug(
        "stale-list-decides",
        "a record older than what the link has seen decides",
        "sync/decide.py",
        "    if any(_stale(link, side, records[side]) for side in SIDES):",
        "    if False:",
        (f"{INBOX}::test_a_record_older_than_what_was_seen_decides_nothing",),
    ),
    Bug(
        "empty-side-believed",
        "a side that suddenly lists nothing is a wave of deletions",
        "sync/read.py",
        "    if not listed and (expected := missed_if_none(session, side)):",
        "    if not listed and (expected := 0):",
        (
            "sync/tests/test_engine_running.py::test_a_side_that_suddenly_lists_nothing_halts_until_a_person_says_it_is_true",
        ),
    ),
    Bug(
        "resumed-pair-seen-for-another",
        "a pair that becomes active during a complete listing marks another, deleted one as seen, or breaks the run",
        "sync/read.py",
        '    links = links.filter(pk__gte=ends["first"], pk__lte=ends["last"])  # others may become active meanwhile\n',
        "",
        ("sync/tests/test_engine_listings.py::test_a_pair_that_becomes_active_during_a_listing_hides_no_deletion",),
    ),
    Bug(
        "broken-listing-counts-as-made",
        "a complete listing that broke off is not made again for an hour, and one that always does finds no deletion",
        "sync/read.py",
        "    _note_swept(session, side, now - SWEEP + SWEEP_AGAIN)  #",
        "    _note_swept(session, side, now)  #",
        ("sync/tests/test_engine_listings.py::test_a_listing_that_breaks_off_is_made_again_soon_but_not_by_every_run",),
    ),
    Bug(
        "request-taken-for-answered",
        "who asks for a run while the lists are read is forgotten when the next poll is noted",
        "sync/polling.py",
        "next_poll_at = CASE WHEN next_poll_at IS NULL THEN NULL ELSE %s END WHERE",
        "next_poll_at = %s WHERE",
        ("sync/tests/test_turns.py::test_a_run_asked_for_while_lists_are_read_reads_both_once_more",),
    ),
    Bug(
        "request-forgotten-by-failure",
        "a poll that somebody asked for and that failed is made again for one side only",
        "sync/polling.py",
        "SET next_poll_at = %s, left_poll_at = NULL, right_poll_at = NULL WHERE",
        "SET next_poll_at = %s WHERE",
        ("sync/tests/test_turns.py::test_a_poll_that_fails_leaves_both_sides_due_to_whoever_asked",),
    ),
    Bug(
        "hidden-read-as-empty",
        "a field that may not be read is taken for an empty one",
        "sync/plan.py",
        "left=left.values.get(rule.left.path, MISSING) if rule.left.path not in left.unreadable else MISSING,",
        "left=left.values.get(rule.left.path),",
        (f"{PLAN_LAWS}::test_what_cannot_be_read_is_left_alone",),
    ),
    # Proving. ------------------------------------------------------------------------------------------------------
    Bug(
        "nemesis-dies-unnoticed",
        "the nemesis of a chaos run breaks off, and the run passes without its faults",
        "syncadmin/chaos/campaign.py",
        "    threading.excepthook = noted\n",
        "",
        ("syncadmin/tests/test_chaos_nemesis.py::test_an_exception_that_the_nemesis_did_not_foresee_fails_the_run",),
    ),
    # Hints. --------------------------------------------------------------------------------------------------------
    Bug(
        "hint-deleted-without-counter",
        "a hint is consumed although it rang again after the read",
        "sync/hints.py",
        "WHERE id = %s AND counter = %s",
        "WHERE id = %s AND %s > 0",
        (f"{INBOX}::test_what_rings_between_the_read_and_the_commit_is_looked_at_again",),
    ),
    Bug(
        "lost-wake-up",
        "after the lease is released nobody looks whether something rang meanwhile",
        "sync/jobs.py",
        """    if outcome.state in ("done", "lost") and hints.any_due(mapping_id):
        wake(mapping_id, queue)
""",
        "",
        (f"{INBOX}::test_what_rang_after_the_last_look_of_a_run_is_rung_for",),
    ),
    Bug(
        "hint-postponed-for-ever",
        "a hint that waits for an open operation waits for months",
        "sync/hints.py",
        """    when = timezone.now() + timedelta(seconds=seconds)
    with transaction.atomic():
        lock(hints[0]""",
        """    when = timezone.now() + timedelta(days=100 + seconds)
    with transaction.atomic():
        lock(hints[0]""",
        (f"{INBOX}::test_an_edit_that_waits_for_an_open_operation_waits_for_seconds",),
    ),
    Bug(
        "no-re-mark-after-a-dead-operation",
        "what gave up is not looked at again",
        "sync/setbacks.py",
        "        after.fail(link, error.message, error.after if isinstance(error, Retry) else SIGN_IN_SECONDS, tries)",
        """        if not dead:
            after.fail(link, error.message, error.after if isinstance(error, Retry) else SIGN_IN_SECONDS, tries)""",
        (
            "sync/tests/test_engine_setbacks.py::test_a_write_that_keeps_failing_is_tried_ever_more_rarely_and_then_listed",
        ),
    ),
    Bug(
        "unverified-delivery-drops-a-hint",
        "anybody who can send a request can silence an edit",
        "sync/echo.py",
        "if not hint.verified or not hint.own_account or hint.deleted:",
        "if not hint.own_account or hint.deleted:",
        (f"{INBOX}::test_an_unverified_delivery_silences_nothing",),
    ),
    Bug(
        "echo-by-account-alone",
        "what our account did is taken for our write, though a person may use it",
        "sync/echo.py",
        '    changes = told.get("changes") or {}\n',
        '    return True\n    changes = told.get("changes") or {}\n',
        (f"{INBOX}::test_a_person_who_uses_our_account_is_heard",),
    ),
    # The merge. ----------------------------------------------------------------------------------------------------
    Bug(
        "missing-base-read-as-empty",
        "never agreed is taken for agreed on nothing",
        "sync/plan.py",
        """        left_base=link.bases["left"].get(rule.id, MISSING),
        right_base=link.bases["right"].get(rule.id, MISSING),
""",
        """        left_base=link.bases["left"].get(rule.id),
        right_base=link.bases["right"].get(rule.id),
""",
        (f"{GUARDS}::test_a_rule_that_comes_later_finds_no_agreement_and_no_edit",),
    ),
    Bug(
        "one-way-asks-the-policy",
        "an edit of the target of a one-way rule is a conflict",
        "sync/merge.py",
        """    if rule.direction != "both":
        return _one_way(rule, f)
""",
        "",
        (f"{MERGE_LAWS}::test_a_one_way_rule_never_asks_the_policy_and_writes_only_its_target",),
    ),
    Bug(
        "plain-union",
        "merged sets bring removed members back",
        "mappings/transforms/merging.py",
        "return sorted((set(left or ()) | (there - known)) - (known - there))",
        "return sorted(set(left or ()) | there)",
        (f"{ENGINE}::test_sets_are_merged_and_a_removed_label_stays_removed",),
    ),
    Bug(
        "set-removal-lost",
        "a member that was removed on one side stays on the other one",
        "mappings/transforms/sets.py",
        "result = {member for member in there if stays(side, member)}",
        "result = set(there)",
        ("mappings/tests/test_lens_properties.py::test_a_carried_set_has_every_member_of_its_source_and_no_other",),
    ),
    Bug(
        "empty-base-read-as-missing",
        "members that the right never had count as removed there",
        "sync/merge.py",
        'else rule.lens.put("left", f.right_base) or []',
        'else rule.lens.put("left", f.right_base)',
        (f"{MERGE_LAWS}::test_sets_become_what_the_left_has_and_the_right_added_without_what_it_removed",),
    ),
    Bug(
        "later-policy-settles",
        "a question that a person was asked is settled by a policy",
        "sync/merge.py",
        """    if f.open_conflict:
        return Ask("field", "both_changed", {"policy": rule.policy.name})
    kind =""",
        "    kind =",
        (f"{ENGINE}::test_an_open_conflict_is_not_settled_by_a_later_policy",),
    ),
    Bug(
        "newest-by-a-hair",
        "an edit wins although the intervals of both edits overlap",
        "sync/merge.py",
        "if left.earliest > right.latest + apart:",
        "if left.latest > right.latest:",
        ("sync/tests/test_merge.py",),
    ),
    Bug(
        "required-emptied",
        "a required field is emptied, which its system refuses",
        "sync/merge.py",
        """    if rule.field(side).required and is_empty(value):
        return Ask("unmapped", "required_would_be_emptied", {"side": side})
    return Write(side, value, code, params=params)""",
        "    return Write(side, value, code, params=params)",
        (f"{MERGE_LAWS}::test_no_write_empties_a_required_field_or_repeats_what_is_there_or_what_was_refused",),
    ),
    Bug(
        "parked-value-resent",
        "a refused value is sent again and again",
        "sync/merge.py",
        'return outcome.side == parked["side"] and outcome.value == parked["value"]',
        "return False",
        ("sync/tests/test_merge.py",),
    ),
    Bug(
        "last-editor-decides-the-base",
        "what an automation made of our write is taken for our own, because our account wrote last",
        "sync/read_back.py",
        "    return WrittenBase(sent, edited=True)",
        "    return WrittenBase(read_back)",
        (f"{GUARDS}::test_what_an_automation_makes_of_our_write_is_an_edit_though_it_has_our_name",),
    ),
    Bug(
        "two-writes-for-a-merged-value",
        "a merged value is written to both sides at once, so a crash in between loses one",
        "sync/plan.py",
        """            writes.append((rule, outcome, f, instruction))
        elif""",
        """            writes.append((rule, outcome, f, instruction))
            if outcome.settle == "other":
                writes.append((rule, replace(outcome, side=OTHER[outcome.side]), f, instruction))
        elif""",
        (f"{PLAN_LAWS}::test_each_rule_has_one_outcome_and_no_outcome_two_writes",),
    ),
    Bug(
        "merged-value-settled-like-an-edit",
        "a merged value reaches one side only",
        "sync/merge.py",
        'return Write(side, value, code, settle="other")',
        'return Write(side, value, code, settle="source")',
        (f"{ENGINE}::test_sets_are_merged_and_a_removed_label_stays_removed",),
    ),
    Bug(
        "resolution-on-old-values",
        "a choice applies although the values moved since the person saw them",
        "sync/merge.py",
        'if not choice.get("force") and side in (seen := choice.get("seen") or {}) and seen[side] != f.value(side):',
        "if False:",
        (f"{ENGINE}::test_a_choice_made_on_old_values_is_not_applied",),
    ),
    Bug(
        "resolution-compared-by-record-version",
        "a choice is refused because another field of the record moved",
        "sync/decide.py",
        "        instruction_views(look.known, link),\n",
        """        instruction_views(look.known, link)
        if (link.left_version, link.right_version) == (left.version, right.version)
        else (),
""",
        (f"{GUARDS}::test_an_answer_applies_although_another_field_of_the_record_moved",),
    ),
    Bug(
        "oscillation-not-stopped",
        "two automations fight for ever",
        "sync/plan.py",
        "    if len(recent) >= OSCILLATION_WRITES and repeats >= 2:",
        "    if False:",
        (f"{PLAN_LAWS}::test_a_war_of_updates_ends_in_a_question",),
    ),
    Bug(
        "conflict-reopened-unchanged",
        "a question is closed and asked anew at every look",
        "sync/plan.py",
        "if rule.id in link.open_conflicts and not asked_only and not isinstance(outcome, Ask | Write | Skip):",
        "if rule.id in link.open_conflicts and not asked_only and not isinstance(outcome, Write | Skip):",
        ("sync/tests/test_stories.py::test_active_here_and_on_hold_there_is_one_question_and_no_war",),
    ),
    # Scope, brakes, approval. --------------------------------------------------------------------------------------
    Bug(
        "record-that-left-the-filter-written",
        "a record that left the scope is kept in agreement",
        "sync/decide.py",
        """    if _left_scope(look, link):
        return Decided(link, LinkPlan(), records)
""",
        "",
        ("sync/tests/test_stories.py::test_bugs_labelled_todev_enter_the_scope_and_leave_it",),
    ),
    Bug(
        "brake-per-run",
        "a mistake in small portions passes the brake",
        "sync/brakes.py",
        """BY_KIND = \"\"\"SELECT side, kind, clears, COUNT(*) FROM sync_operation
    WHERE mapping_id""",
        """BY_KIND = \"\"\"SELECT side, kind, clears, COUNT(*) FROM sync_operation
    WHERE run_id = (SELECT MAX(id) FROM sync_run) AND mapping_id""",
        (f"{GUARDS}::test_small_portions_pass_no_brake",),
    ),
    Bug(
        "release-counted-in-hints",
        "a release is cut to so many records, although each takes two writes: nothing of it is written",
        "sync/engine.py",
        "        if brake.room and (fitting := looked.fitting(brake.side, brake.kind, brake.room)):\n",
        "        if (fitting := looked.rung[: brake.room]) and len(fitting) < len(looked.rung):\n",
        ("sync/tests/test_engine_brakes.py::test_a_release_lets_through_the_records_of_which_all_writes_fit",),
    ),
    Bug(
        "most-released-counted-in-records",
        "what the page says lets through whatever waits is half of the writes that wait",
        "sync/views/_brake.py",
        "max(self.planned, self.waiting * self.calls)",
        "max(self.planned, self.waiting)",
        (
            "sync/tests/test_brake_pages.py"
            "::test_more_than_all_that_waits_can_be_released_where_a_record_takes_two_writes",
        ),
    ),
    Bug(
        "clears-not-braked",
        "emptying filled fields counts as ordinary updates",
        "sync/plan.py",
        "return any(is_empty(f.value) and not is_empty(f.before) for f in self.fields)",
        "return False",
        ("sync/tests/test_engine_brakes.py::test_emptying_rich_text_is_a_clear",),
    ),
    Bug(
        "written-before-approval",
        "the first run writes before anybody approved its numbers",
        "sync/engine.py",
        "    if state.approved_at is None:\n",
        "    if False:\n",
        (f"{ENGINE}::test_a_first_run_shows_its_numbers_and_writes_nothing_before_approval",),
    ),
    Bug(
        "halt-without-its-numbers",
        "a worker that dies at the end of a first run leaves a halt that nobody can end",
        "sync/first_run.py",
        "        session.to_approve(preview)  # ⚑",
        "    session.to_approve(preview)  #",
        (f"{APPROVALS}::test_a_first_run_whose_worker_died_at_its_end_is_made_again_and_can_be_approved",),
    ),
    Bug(
        "restore-approved-by-old-numbers",
        "the numbers of an older version approve what the one published since writes after a restore",
        "sync/approval.py",
        """        if outdated(state):
            raise NotWaiting(f"{mapping} was published anew since: it is compared""",
        """        if False:
            raise NotWaiting(f"{mapping} was published anew since: it is compared""",
        (f"{APPROVALS}::test_numbers_of_an_older_version_approve_nothing_after_a_restore",),
    ),
    Bug(
        "declared-restore-keeps-old-lists",
        "a restore that is declared where nothing writes yet leaves a first run's lists of before to be approved",
        "sync/management/commands/restored.py",
        "if not names and not first:",
        "if not names:",
        ("sync/tests/test_restored_command.py::test_a_first_run_that_nobody_approved_yet_is_made_again",),
    ),
    Bug(
        "pause-ended-by-a-test",
        "a test of a connection that was under way when somebody paused it ends the pause",
        "connections/pauses.py",
        ".exclude(state__in=[State.PAUSED, *but_for])",
        ".exclude(state__in=[*but_for])",
        ("sync/tests/test_meanwhile.py::test_a_pause_while_a_test_is_under_way_stays_whatever_the_test_finds",),
    ),
    Bug(
        "comparison-lost-to-a-connection",
        "a connection that needs a person takes the place of a comparison after a restore, which is then left out",
        "sync/engine.py",
        'filter(pk=state.pk, halt__in=("", MappingState.Halt.CONNECTION))',
        "filter(pk=state.pk)",
        (
            "sync/tests/test_meanwhile.py"
            "::test_a_connection_that_needs_a_person_takes_no_comparison_after_a_restore_away",
        ),
    ),
    Bug(
        "mapping-turned-elsewhere",
        "a published mapping is published again with another connection and keeps its links",
        "mappings/validation.py",
        "problems: list[Problem] = [*moved_sides(published, document)]",
        "problems: list[Problem] = []",
        ("mappings/tests/test_publish.py::test_a_draft_that_names_other_records_is_not_published",),
    ),
    Bug(
        "roll-back-ends-questions",
        "a roll back ends what is asked about a rule that is switched off, and its policy decides later",
        "mappings/publish.py",
        'document = {**old.document, "off": sorted({*off_rules(locked), *old.document.get("off", ())})}',
        "document = old.document",
        ("sync/tests/test_engine_versions.py::test_a_question_about_a_rule_that_is_off_survives_a_roll_back",),
    ),
    Bug(
        "run-before-test",
        "a run calls a connection that was set up anew without asking who answers there",
        "connections/models.py",
        "return known and self.usable and (self.test_due or self.state == self.State.UNTESTED)",
        "return False",
        (f"{RETEST}::test_another_site_behind_a_new_address_halts_before_a_run_writes",),
    ),
    Bug(
        "outage-in-place-of-the-test",
        "a test that failed counts as one: the next run goes on",
        "connections/models.py",
        "(self.test_due or self.state == self.State.UNTESTED)",
        "(self.state == self.State.UNTESTED)",
        (f"{RETEST}::test_a_failed_test_is_told_and_tried_again_and_no_run_goes_on_without_it",),
    ),
    Bug(
        "whoever-answers-is-accepted",
        "a person accepts whom the last test found, not whom the page showed",
        "connections/open.py",
        "            raise FoundAnother\n",
        "            pass\n",
        ("connections/tests/test_open.py::test_only_the_account_that_a_person_saw_is_accepted",),
    ),
    Bug(
        "saving-accepts-another-account",
        "saving any setting ends the halt for another account",
        "connections/pauses.py",
        "note_state(connection, State.UNTESTED, but_for=[State.ACCOUNT_CHANGED])",
        "note_state(connection, State.UNTESTED)",
        (f"{RETEST}::test_a_halt_for_another_account_is_not_ended_by_saving_a_setting",),
    ),
    # Sending. ------------------------------------------------------------------------------------------------------
    Bug(
        "answer-to-one-field-drops-the-others",
        "a later answer to one field throws away what was asked about the other fields of the pair",
        "sync/instructions.py",
        "        if len(again) == len(one.choices):\n",
        "        if again:\n",
        (
            "sync/tests/test_engine_instructions.py"
            "::test_a_later_answer_to_one_field_leaves_what_was_asked_about_another",
        ),
    ),
    Bug(
        "resend-on-time-out",
        "a write without an answer is sent again",
        "sync/setbacks.py",
        "    if isinstance(error, Uncertain):\n",
        "    if False:\n",
        (f"{ENGINE}::test_a_lost_answer_is_probed_and_not_sent_again",),
    ),
    Bug(
        "old-value-proves-nothing-happened",
        "an unanswered write counts as not applied because the old value is there",
        "sync/recover.py",
        "    if _proves_absence(session, operation, record):",
        '    if all(record.values.get(one["path"]) == one["before"] for one in operation.fields.values()):',
        (f"{GUARDS}::test_that_the_old_value_is_there_does_not_prove_that_a_write_did_not_happen",),
    ),
    Bug(
        "digest-proves-nothing-happened",
        "an unanswered write counts as not applied because the digest of before it is back",
        "sync/recover.py",
        "    return not connector.capabilities_of(object_type).version_comes_back\n",
        "    return True\n",
        (
            f"{GUARDS}::test_an_old_version_proves_that_a_write_did_not_happen_unless_it_comes_back",
            "sync/tests/test_engine_sql_files.py"
            "::test_an_old_value_that_somebody_put_back_after_an_unanswered_write_is_not_written_over",
        ),
    ),
    Bug(
        "sent-under-an-old-version",
        "what was decided under another mapping version is sent",
        "sync/apply.py",
        "if not pinned or moved or old or",
        "if moved or old or",
        ("sync/tests/test_engine_running.py::test_what_was_decided_under_an_older_version_is_not_sent",),
    ),
    Bug(
        "sent-although-it-rang",
        "what was decided before the record rang again is sent",
        "sync/apply.py",
        "if not pinned or moved or old or",
        "if not pinned or old or",
        (f"{GUARDS}::test_what_rang_since_it_was_decided_is_decided_again",),
    ),
    Bug(
        "old-decision-sent",
        "a decision older than 10 s is sent",
        "sync/apply.py",
        "if not pinned or moved or old or",
        "if not pinned or moved or",
        (f"{GUARDS}::test_a_decision_that_waited_too_long_is_made_again",),
    ),
    Bug(
        "claim-not-unique-across-mappings",
        "two mappings write the same record at once",
        "sync/apply.py",
        'return f"{session.connection(operation.side).pk}:',
        'return f"{session.mapping.pk}:{session.connection(operation.side).pk}:',
        (f"{GUARDS}::test_a_record_that_another_mapping_writes_is_not_written",),
    ),
    Bug(
        "lease-without-fence",
        "a worker that lost its lease commits",
        "sync/lease.py",
        "WHERE mapping_id = %s AND fence = %s AND lease_until IS NOT NULL",
        "WHERE mapping_id = %s AND %s > 0",
        (f"{ENGINE}::test_a_worker_that_lost_its_lease_commits_nothing",),
    ),
    Bug(
        "stopped-worker-sends",
        "a worker that stood still sends what it had claimed",
        "sync/lease.py",
        "return time.monotonic() < self.sure_until",
        "return True",
        ("sync/tests/test_engine_running.py::test_a_worker_that_stood_still_sends_nothing_more",),
    ),
    Bug(
        "retry-after-lost-on-flush",
        "what a system asked us to wait is known to one process only",
        "connections/open.py",
        """        Connection.objects.filter(pk=connection_id).filter(
            models.Q(retry_after__isnull=True) | models.Q(retry_after__lt=until)
        ).update(retry_after=until)
""",
        "        pass\n",
        (
            "connections/tests/test_open.py::test_a_wait_the_system_asked_for_holds_for_every_worker_and_is_never_shortened",
        ),
    ),
    Bug(
        "made-without-author-or-key-copied",
        "what an unanswered create made gets a twin, where its system tells no author and keeps no key",
        "sync/creates_under_way.py",
        "    if anonymous(one):\n",
        "    if False:\n",
        ("sync/tests/test_engine_answered_creates.py",),
    ),
    Bug(
        "left-out-of-a-create-found-later",
        "what a system left out of a create without an answer is taken for its own, and emptied at the source",
        "sync/earlier_creates.py",
        "return WriteResult(record, created=True, on_the_way=empty)",
        "return WriteResult(record, created=True)",
        ("sync/tests/test_engine_answered_creates.py",),
    ),
    Bug(
        "repeated-create-taken-for-fresh",
        "what a record that was there before says in a field that a create cannot carry is taken for its start",
        "sync/settle.py",
        "    if creating and not result.created and is_repeated(operation):\n",
        "    if False:\n",
        (
            "sync/tests/test_engine_repeated_creates.py"
            "::test_what_a_create_cannot_carry_and_somebody_set_in_the_unseen_record_is_not_written_over",
            "sync/tests/test_engine_rest.py"
            "::test_an_edit_of_the_twin_before_its_create_is_sent_again_is_not_written_over",
        ),
    ),
    Bug(
        "believed-though-proved-away",
        "a create that a look proved not to have happened is taken for what was written",
        "sync/earlier_creates.py",
        "    likely_first = [*(one for one in earlier if one not in proved), operation, *proved]\n",
        "    likely_first = [*earlier, operation]\n",
        (
            "sync/tests/test_engine_repeated_creates.py"
            "::test_a_create_that_a_look_proved_not_to_have_happened_is_not_what_was_written",
        ),
    ),
    Bug(
        "off-then-is-gone-now",
        "a question ends since a roll back leads to a version in which its rule was off",
        "mappings/publish.py",
        "        if replaced or (rule.enabled and rule.rule_id not in off):\n",
        "        if replaced or rule.enabled:\n",
        ("sync/tests/test_engine_versions.py",),
    ),
    Bug(
        "left-out-of-a-new-issue",
        "labels that GitHub left out of a new issue are taken for its own, and those of the source are taken away",
        "connections/connectors/github_writes.py",
        "return WriteResult(record, created=True, on_the_way=_still(record, missing))",
        "return WriteResult(record, created=True)",
        ("sync/tests/test_engine_github_left_out.py",),
    ),
    Bug(
        "job-of-another-worker-dropped",
        "a job that another worker notes at Zendesk meanwhile is forgotten, and its creates may be sent again",
        "connections/connectors/zendesk_jobs.py",
        "    desk.context.state.change(STATE, noted)\n",
        "    desk.context.state.put(STATE, noted(desk.context.state.get(STATE)))\n",
        ("connections/tests/test_connector_zendesk.py::test_a_job_that_another_worker_notes_meanwhile_stays_noted",),
    ),
    Bug(
        "not-looked-at-after-a-write",
        "an edit of a title or of labels made between our read and our write to GitHub is replaced, and nobody is told",
        "connections/connectors/github_writes.py",
        "        replaced = {**replaced, **_overwritten(site, repository, issue, answer.json, told_after, me)}\n",
        "        _overwritten(site, repository, issue, answer.json, told_after, me)\n",
        ("connections/tests/test_overwrites.py", "sync/tests/test_engine_github.py"),
    ),
    Bug(
        "replaced-by-an-earlier-write",
        "what an earlier write of ours replaced at GitHub is asked about again by one that changed nothing",
        "connections/connectors/github_history.py",
        "for path, over in found.items() if over.after == now.get(path)}",
        "for path, over in found.items()}",
        ("connections/tests/test_overwrites.py",),
    ),
    Bug(
        "profile-asked-for-after-the-write",
        "who is on an issue is looked up after the write: if that fails, nobody is asked about the text it replaced",
        "connections/connectors/github_writes.py",
        "people.values(site, people_in(before, paths))",
        "people.values(site, people_in(before, list(values)))",
        ("connections/tests/test_github_accepted_writes.py",),
    ),
    Bug(
        "version-of-an-application-stands-still",
        "a form that was opened before our write is saved over it",
        "connections/connectors/sql_writes.py",
        "        again |= self._count_up(session, same, paths)\n",
        "",
        ("sync/tests/test_engine_sql_files.py::test_our_write_is_noticed_by_an_application_that_counts_versions",),
    ),
    Bug(
        "decimal-rounded",
        "a number with more decimals than its column keeps is rounded there, and goes over its source",
        "connections/connectors/sql_room.py",
        "if self.places is not None and number and _places(number) > self.places:",
        "if False:",
        ("sync/tests/test_engine_sql_values.py", "connections/tests/test_sql_values.py"),
    ),
    Bug(
        "hour-that-comes-twice",
        "a moment that a column without a zone cannot tell is written, and goes over its source an hour off",
        "connections/connectors/sql_values.py",
        "if moment(made, column.zone) != column.room.floored(moment(value, None)):",
        "if False:",
        ("sync/tests/test_engine_sql_values.py", "connections/tests/test_sql_values.py"),
    ),
    Bug(
        "blanks-in-a-key",
        "the blanks that fill a key up are a part of its id in reads and none in triggers",
        "connections/connectors/sql_room.py",
        'return value if value is None else value.rstrip(" ")',
        "return value",
        ("connections/tests/test_sql_values.py",),
    ),
    # What a result means. ------------------------------------------------------------------------------------------
    Bug(
        "base-of-unsent-fields-moved",
        "a write takes over the whole record it read back, edits of others included",
        "sync/settle.py",
        "    link.changed_at = timezone.now()\n    entries = []\n",
        """    link.changed_at = timezone.now()
    for rule in session.compiled.rules:
        if rule.field(side).path in record.values:
            link.bases(side)[rule.id] = record.values[rule.field(side).path]
    entries = []
""",
        (f"{GUARDS}::test_an_edit_that_a_write_reads_back_is_not_taken_for_agreed",),
    ),
    Bug(
        "audit-entry-outside-the-transaction",
        "an act is committed and its line is not",
        "sync/settle.py",
        "        after.carry_out()\n        audit.append(entries)\n",
        "        after.carry_out()\n    audit.append(entries)\n",
        (f"{GUARDS}::test_an_act_and_its_line_are_committed_together_or_not_at_all",),
    ),
    Bug(
        "unsent-status-forgotten",
        "what a create could not carry is never written",
        "sync/settle.py",
        """        elif not late:
            bases[rule.id] = now
            source_bases[rule.id] = counterpart""",
        """        elif not late:
            bases[rule.id], source_bases[rule.id] = now, source
            continue
            source_bases[rule.id] = counterpart""",
        ("sync/tests/test_engine_steps.py::test_a_new_record_gets_its_status_without_a_poll",),
    ),
    Bug(
        "rest-of-a-refused-call-lost",
        "the fields beside a refused one are not sent",
        "sync/setbacks.py",
        """        if hit and len(hit) < len(operation.fields):
            after.again(operation.link)
""",
        "",
        (f"{GUARDS}::test_what_was_beside_a_refused_field_is_sent_without_a_poll",),
    ),
    # Creating, binding, deleting. ----------------------------------------------------------------------------------
    Bug(
        "no-settle-wait",
        "a create is repeated before the look-up could have found it",
        "sync/recover_creates.py",
        "    if timezone.now() < settled:\n",
        "    if False:\n",
        (f"{GUARDS}::test_a_create_is_not_repeated_before_a_look_up_could_have_found_it",),
    ),
    Bug(
        "unclear-create-forgotten-when-unlinked",
        "a create of unknown fate is sent again, unasked, once its record was left unlinked and is matched again",
        "sync/instructions.py",
        "parked=asked, typed={}",
        "parked={}, typed={}",
        (
            "sync/tests/test_asked.py"
            "::test_a_create_of_unknown_fate_left_unlinked_is_asked_about_again_when_it_is_matched_again",
        ),
    ),
    Bug(
        "unclear-create-asks-nobody",
        "a create of unknown fate waits for a person whom nobody asks, once its record is matched again",
        "sync/decide.py",
        "        one.plan.conflicts.append(question)\n",
        "        pass\n",
        (
            "sync/tests/test_asked.py"
            "::test_a_create_of_unknown_fate_left_unlinked_is_asked_about_again_when_it_is_matched_again",
        ),
    ),
    Bug(
        "unclear-create-copied-back",
        "what an unanswered create may have made is copied back once its record was left unlinked",
        "sync/unlinked.py",
        "            decision = _may_be_a_twin(session, one, unclear[one.side]) or decision\n",
        "            decision = _may_be_a_twin(session, one, []) or decision\n",
        (
            "sync/tests/test_asked.py"
            "::test_what_an_unanswered_create_may_have_made_is_asked_about_once_its_record_was_left_unlinked",
        ),
    ),
    Bug(
        "create-without-look-up",
        "a record is created although one with its match key is there",
        "sync/unlinked.py",
        "    fits = look_up(session, rest)\n    taken: set[tuple[str, str]] = set()",
        "    fits = {id(one): Fits() for one in rest}\n    taken: set[tuple[str, str]] = set()",
        (f"{ENGINE}::test_equal_records_are_linked_without_a_write",),
    ),
    Bug(
        "clone-bound-by-key",
        "a copy of a record, key included, is bound in its place",
        "sync/unlinked.py",
        "    if mine is not None and mine != external_id:\n",
        "    if False:\n",
        (f"{GUARDS}::test_a_clone_that_carries_our_key_is_neither_bound_nor_copied",),
    ),
    Bug(
        "others-that-fitted-are-not-told",
        "a record that fitted what a person linked or left alone goes on asking which one is meant, and gets no twin",
        "sync/instructions.py",
        "            forget_keys(link.mapping_id, side, [external_id])\n",
        "            MatchKey.objects.filter(mapping=link.mapping, side=side, external_id=external_id).delete()\n",
        ("sync/tests/test_asked.py::test_the_others_that_fitted_are_looked_at_again_once_it_is_answered",),
    ),
    Bug(
        "old-record-bound-by-key",
        "a record that was there before our key is taken for what we created",
        "sync/recover_creates.py",
        "    if len(alive) == 1 and _is_older(session, operation, alive[0]):\n",
        "    if False:\n",
        ("sync/tests/test_engine_matching.py::test_our_key_on_a_record_older_than_the_key_is_a_duplicate",),
    ),
    Bug(
        "404-as-gone",
        "a record that may only be hidden is believed deleted at once",
        "sync/decide.py",
        """    if able(look.session, side).not_found_means_gone:
        return True
""",
        "    return True\n",
        (
            "sync/tests/test_engine_deletions.py::test_a_record_that_may_be_hidden_is_believed_gone_after_a_second_look_an_hour_later",
        ),
    ),
    Bug(
        "left-a-view-as-gone",
        "a row that left its view, or that its database hides, is believed deleted after a second look",
        "sync/decide.py",
        """    if able(look.session, side).not_found_tells_nothing:
        return False
""",
        "",
        ("sync/tests/test_engine_scope.py::test_one_that_was_looked_for_before_is_not_believed_gone_by_a_second_look",),
    ),
    Bug(
        "view-as-table",
        "a row that its view lacks is as good as deleted, like one that its table lacks",
        "connections/connectors/sql_shape.py",
        "        return self.is_view or self.row_security\n",
        "        return self.row_security\n",
        (
            "sync/tests/test_engine_sql_files.py::test_a_row_that_its_view_shows_no_longer_is_not_taken_for_deleted",
            "connections/tests/test_connector_sql.py"
            "::test_a_row_that_a_view_lacks_may_be_there_and_one_that_its_table_lacks_is_gone",
        ),
    ),
    Bug(
        "row-security-known-of-old",
        "a row that policies hide since a moment ago is told as deleted, since the table was described before",
        "connections/connectors/sql_database.py",
        "        if len(found) < len(distinct):\n            self._look_what_hides(object_type)\n",
        "",
        (
            "connections/tests/test_connector_sql.py::test_a_row_that_row_security_hides_is_not_told_as_deleted",
            "connections/tests/test_connector_sql.py::test_a_row_that_row_security_hides_may_be_there",
        ),
    ),
    Bug(
        "held-twin-deleted",
        "an answer about a field of a held pair lets the deletion of one record take the other along",
        "sync/decide.py",
        "    if gone and link.state == Link.State.HELD:\n",
        "    if False:\n",
        (
            "sync/tests/test_engine_brakes.py"
            "::test_an_answer_about_a_held_pair_whose_record_is_deleted_leaves_its_twin_alone",
        ),
    ),
    Bug(
        "edited-survivor-deleted",
        "a record is deleted with its twin although somebody edited it",
        "sync/plan_deletion.py",
        "    elif edited and not released:\n",
        "    elif False:\n",
        (f"{ENGINE}::test_deleted_here_and_edited_there_goes_to_a_person",),
    ),
    Bug(
        "edited-since-seen-deleted",
        "a person lets a twin be deleted that was edited after they looked at it",
        "sync/plan_deletion.py",
        "    return hidden or any(_says_more(rule, known, other, survivor) for rule in mapping.rules)\n",
        "    return hidden\n",
        ("sync/tests/test_asked.py::test_a_twin_that_was_edited_since_the_person_looked_is_not_deleted",),
    ),
    Bug(
        "undo-against-the-direction",
        "an undo writes to a side to which the rule does not write any more",
        "sync/merge.py",
        """        if not rule.may_write(side):
            return Ask("field", "direction_forbids", {"side": side})
        return Write(side, choice["value"], "undone", settle="current")
""",
        """        return Write(side, choice["value"], "undone", settle="current")
""",
        ("sync/tests/test_merge.py", "sync/tests/test_engine_instructions.py"),
    ),
    Bug(
        "unlink-without-a-marker",
        "an unlinked pair is matched again at the next look",
        "sync/commit.py",
        """ not in kept])
    return operations
""",
        """ not in kept])
        Link.objects.filter(state="unlinked").update(left_id=None, right_id=None)
    return operations
""",
        ("sync/tests/test_asked.py::test_an_unlinked_pair_is_left_alone_and_linked_again_goes_on_where_it_was",),
    ),
    Bug(
        "hidden-for-good",
        "a record that was believed deleted while it was hidden is not looked for",
        "sync/read.py",
        """    hints.mark(session.mapping.pk, side, hidden.values_list(f"{side}_id", flat=True), hints.Lane.VERIFY)
""",
        "    hints.mark(session.mapping.pk, side, (), hints.Lane.VERIFY)\n",
        (
            "sync/tests/test_engine_deletions.py::test_what_was_edited_while_its_record_was_believed_gone_is_found_once_it_is_shown_again",
        ),
    ),
    Bug(
        "tombstone-resumes-without-match",
        "an id that came back as another thing is taken for the old one",
        "sync/decide.py",
        "    if same:\n        for side in SIDES:\n",
        "    if True:\n        for side in SIDES:\n",
        ("sync/tests/test_engine_deletions.py::test_an_id_that_returns_as_another_thing_does_not_resume",),
    ),
    Bug(
        "merge-told-as-deletion",
        "a record that was merged into another one takes its twin along instead of the pair going on",
        "sync/decide.py",
        "    into, merge = merged.remaining(one, gone), None\n",
        "    into, merge = None, None\n",
        ("sync/tests/test_engine_deletions.py::test_a_pair_follows_a_record_into_the_one_it_was_merged_into",),
    ),
    Bug(
        "odd-answer-taken-for-absent",
        "a record that a described API answers for with something else counts as not found, and later as deleted",
        "connections/connectors/rest_objects.py",
        "return found | {id: not_understood(id, fields) for id in odd}",
        "return found",
        (
            "connections/tests/test_connector_rest.py"
            "::test_one_record_that_is_answered_oddly_is_unreadable_and_stops_no_other",
        ),
    ),
    Bug(
        "overwritten-edit-forgotten",
        "a conflict about a field ends the question about an edit that we overwrote there before",
        "sync/clobbers.py",
        """    if LATEST not in question.params or _answered(question, instruction):
        return False
""",
        """    return False
""",
        ("sync/tests/test_engine_overwritten.py",),
    ),
    Bug(
        "given-up-for-good",
        "of a write that was given up nobody asks the history once its record is shown: an edit under it is lost",
        "sync/look.py",
        "    if looked_up := given_up.look_up_again(session, links, reading):\n",
        "    if looked_up := []:\n",
        ("sync/tests/test_engine_setbacks.py",),
    ),
    Bug(
        "given-up-since-the-last-look",
        "the history is asked since the last look, and our own change lies before that",
        "sync/recover.py",
        '    given_up_since = operation.result.get("params", {}).get("seen_at")  # the link was looked at meanwhile\n',
        "    given_up_since = None\n",
        ("sync/tests/test_engine_setbacks.py",),
    ),
    Bug(
        "told-gone-and-forgotten",
        "a write that is told its record is gone, which is there all the same, is not tried again",
        "sync/setbacks.py",
        '        finish(operation, Operation.State.SUPERSEDED, "unreachable")\n        after.again(link)\n',
        '        finish(operation, Operation.State.SUPERSEDED, "unreachable")\n',
        ("sync/tests/test_engine_setbacks.py",),
    ),
    Bug(
        "answered-by-the-unanswered-call",
        "who answered about one field is told to have answered about every field of its call that arrived unanswered",
        "sync/recover.py",
        "    answered = [(one, asked_for(operation, one.rule_id)) for one in asked]\n",
        "    answered = [(one, operation.instruction) for one in asked]\n",
        ("sync/tests/test_engine_setbacks.py",),
    ),
    Bug(
        "answered-by-the-call",
        "who answered about one field is told to have answered about every field of the same call",
        "sync/settle.py",
        "        answer = instruction if over else asked_for(operation, conflict.rule_id)\n",
        "        answer = instruction\n",
        ("sync/tests/test_engine_instructions.py",),
    ),
    Bug(
        "overwritten-edit-taken-over",
        "a rule that comes to a standstill takes a refusal over, and the overwritten edit in its question with it",
        "sync/schema_entries.py",
        "        if not clobbers.goes_on(conflict, None):\n",
        "        if True:\n",
        ("sync/tests/test_overwritten_questions.py",),
    ),
    Bug(
        "overwritten-edit-ended-unseen",
        "whatever a person asks about the field, an undo or a repair, ends the question about an overwritten edit",
        "sync/clobbers.py",
        "    return LATEST in seen and seen[LATEST] == question.params.get(LATEST)\n",
        "    return instruction is not None\n",
        ("sync/tests/test_overwritten_questions.py",),
    ),
    Bug(
        "overwritten-edit-replaced",
        "a second overwritten edit takes the place of the first one in the question",
        "sync/clobbers.py",
        "    earlier = [one for one in reversed(edits(question.params)) if one != (side, value)]\n",
        "    earlier: list[tuple[str, Any]] = []\n",
        ("sync/tests/test_engine_overwritten.py::test_an_edit_overwritten_later_comes_in_addition",),
    ),
    Bug(
        "overwritten-edits-alike",
        "one answer to many questions lets overwritten edits go that nobody was shown",
        "sync/views/_queue.py",
        "    if not conflict.rule_id or conflict.link_id is None or conflict.kind == Conflict.Kind.CLOBBER:\n",
        "    if not conflict.rule_id or conflict.link_id is None:\n",
        ("sync/tests/test_review_overwritten.py::ManyOverwritten",),
    ),
    Bug(
        "typed-number-as-float",
        "a whole number that a person typed loses its last digits",
        "mappings/transforms/values.py",
        "    if exact == exact.to_integral_value():\n        return int(exact)\n    number",
        "    if exact == exact.to_integral_value():\n        return int(float(exact))\n    number",
        ("sync/tests/test_typed.py",),
    ),
    Bug(
        "resolve-takes-any-json",
        "a value of another kind than the field's is written from the command line",
        "sync/management/commands/resolve.py",
        '        if not may_hold(spec, choice["value"]):\n',
        "        if False:\n",
        (
            "sync/tests/test_resolve_command.py::test_a_value_of_another_kind_than_the_field_ends_with_1_and_changes_nothing",
        ),
    ),
    Bug(
        "overwritten-restored-on-the-other-side",
        "an edit that we overwrote earlier is restored on the side of the latest one, in the form of the wrong side",
        "sync/clobbers.py",
        "    sides = params.get(BEFORE_SIDES) or [side] * len(before)\n",
        "    sides = [side] * len(before)\n",
        ("sync/tests/test_review_overwritten.py::OneOverwritten",),
    ),
    Bug(
        "restored-as-now-stored",
        "what is restored is not what the page showed, where another edit was overwritten meanwhile",
        "sync/views/review.py",
        "        back = restored(take, seen[str(other.pk)])\n",
        "        back = restored(take, other.params)\n",
        ("sync/tests/test_review_overwritten.py::OneOverwritten",),
    ),
    Bug(
        "select-without-what-is-there",
        "a value that the version does not know is not among what can be chosen, so that a browser empties the field",
        "sync/views/_values.py",
        "        newer = [said] if said and said not in offered else []\n",
        "        newer: list[str] = []\n",
        ("sync/tests/test_typed.py",),
    ),
    Bug(
        "overwritten-untold-is-empty",
        "an overwritten edit whose value the history does not tell is offered to be restored as if it had been empty",
        "connections/overwrites.py",
        "over and not over[-1].untold",
        "over",
        ("sync/tests/test_engine_overwritten.py",),
    ),
    Bug(
        "token-of-former-settings",
        "a worker leaves a token that was got with former secrets to the test of the new ones",
        "connections/kept.py",
        "        if tokens is not None and row.signs_in_with == self._signs_in_with:\n",
        "        if tokens is not None:\n",
        ("connections/tests/test_kept.py::test_a_worker_with_the_former_secrets_neither_leaves_a_token_nor_takes_one",),
    ),
    Bug(
        "edit-within-a-second-lost",
        "an edit of a moment within a second counts as none although both sides keep it",
        "mappings/transforms/times.py",
        "_cut(one, steps[1] or _step(other)) == other or _cut(other, steps[0] or _step(one)) == one",
        "_cut(one, _step(other)) == other or _cut(other, _step(one)) == one",
        ("mappings/tests/test_transforms_values.py",),
    ),
    Bug(
        "first-that-rings-is-ours",
        "while a person is asked which of the records that carry our key is ours, the first one that rings is bound",
        "sync/unlinked.py",
        "        elif thing and thing.pk in which[one.side] and not isinstance(known, Wonder):\n",
        "        elif False:\n",
        (
            "sync/tests/test_engine_matching.py"
            "::test_of_records_that_carry_one_key_a_person_chooses_and_not_the_first_one_that_rings",
        ),
    ),
    Bug(
        "two-answers-in-one-call",
        "two people's answers about one pair go in one call, and what is refused to one is refused to the other",
        "sync/state.py",
        "        if _chooses(instruction) and any(_chooses(one) for one in mine):\n",
        "        if False:\n",
        ("sync/tests/test_engine_instructions.py",),
    ),
    Bug(
        "jira-joined-names-guessed",
        "names that Jira joins with commas are parted though the ids beside them are of another number",
        "connections/connectors/jira_values.py",
        "return sorted(set(parts)) if len(parts) == count else None",
        "return sorted(set(parts))",
        ("connections/tests/test_jira_history.py",),
    ),
    Bug(
        "members-joined-with-what-parts-them",
        "a member that holds a semicolon is written into a multi-select picklist of Salesforce, which makes two of it",
        "connections/connectors/salesforce_fields.py",
        "        if parted:\n",
        "        if False:\n",
        ("connections/tests/test_connector_salesforce.py",),
    ),
    Bug(
        "deleted-reference-told-as-a-deletion",
        "a write to Salesforce that refers to a deleted record counts as one to a record that was deleted itself",
        "connections/connectors/salesforce_errors.py",
        "    if code in GONE and (status == 404 or not _refers(sent)):\n",
        "    if code in GONE:\n",
        ("connections/tests/test_connector_salesforce.py",),
    ),
    Bug(
        "issues-left-out-of-an-answer-taken-for-absent",
        "what Jira leaves out of a large answer, or cannot show just now, is not asked for again and counts as absent",
        "connections/connectors/jira_site.py",
        "                part = list(broken)\n",
        "                part = []\n",
        ("connections/tests/test_connector_jira.py",),
    ),
    Bug(
        "issues-too-large-for-one-answer",
        "issues that have no room in one answer of Jira's are asked for with all others again, and nothing is read",
        "connections/connectors/jira_site.py",
        "if broken and (not issues or len(broken) >= len(part)):",
        "if broken:",
        ("connections/tests/test_connector_jira.py",),
    ),
    Bug(
        "scope-judged-by-letters",
        "an issue that Jira lists counts as outside the scope, since the scope names its type in other letters",
        "connections/connectors/jira_scope.py",
        'not in scope["issue_types"]:\n        return None',
        'not in scope["issue_types"]:\n        return False',
        ("connections/tests/test_connector_jira.py",),
    ),
    Bug(
        "words-parted-otherwise-than-in-the-index",
        "a summary with “can't” is looked for as “can t” at Jira, finds nothing, and a second issue is made",
        "connections/connectors/jira_values.py",
        """re.findall(r"\\w+(?:['’.,:;·]\\w+)*", value)""",
        """re.findall(r"\\w+", value)""",
        ("connections/tests/test_connector_jira.py",),
    ),
    Bug(
        "jira-fields-asked-after-the-write",
        "what the site's fields are is asked once Jira took an edit, and an error there tells it as not written",
        "connections/connectors/jira.py",
        "return self.site.record(issue, paths, specs)\n        return",
        "return self.site.record(issue, paths)\n        return",
        ("connections/tests/test_jira_history.py",),
    ),
    Bug(
        "overwritten-under-what-arrived",
        "of an unanswered write of unknown fate the edit is forgotten that lay under a field which arrived",
        "sync/recover.py",
        "        entries += ask_about(session, operation, under, after)\n",
        "",
        ("sync/tests/test_engine_overwritten.py",),
    ),
    Bug(
        "arrived-part-asked-about",
        "of an unanswered write also the field is asked about that says what we sent, and its base stays",
        "sync/recover.py",
        '            if record.values.get(sent["path"], MISSING) == sent["value"]:\n',
        "            if MISSING is None:\n",
        (GUARDS,),
    ),
    Bug(
        "undo-settles-unseen",
        "an undo takes an edit of the other side, which nobody has seen, for agreed",
        "sync/merge.py",
        "        if f.base(OTHER[side]) is not MISSING and f.changed(OTHER[side]):\n",
        "        if f.base(OTHER[side]) is MISSING and f.changed(OTHER[side]) and not f.changed(side):\n",
        ("sync/tests/test_merge.py::test_resolve",),
    ),
    Bug(
        "hidden-edit-deleted",
        "a twin is deleted although a field that we cannot read may have been edited there",
        "sync/plan_deletion.py",
        '    elif unread and not released and policy not in ("unlink", "ignore"):\n',
        '    elif unread and released and policy not in ("unlink", "ignore"):\n',
        ("sync/tests/test_engine_deletions.py::test_a_twin_with_a_hidden_field_is_not_deleted_unasked",),
    ),
    Bug(
        "read-back-settles-anything",
        "a record that a write read back is not read again, whatever else it shows",
        "sync/read.py",
        "    return whole and not differs_from_bases(session, link, side, record)\n",
        "    return whole\n",
        (f"{INBOX}::test_a_field_that_was_never_agreed_is_not_settled_by_a_write_beside_it",),
    ),
    Bug(
        "never-compared-deleted",
        "a twin is deleted although it says something in a field that was never agreed",
        "sync/plan_deletion.py",
        "    return not is_empty(value) if base is MISSING else bool(value != base)\n",
        "    return base is not MISSING and bool(value != base)\n",
        (
            "sync/tests/test_engine_deletions.py::test_a_twin_with_a_field_that_was_never_compared_is_not_deleted_unasked",
        ),
    ),
    Bug(
        "slow-circle-forgotten",
        "own writes of more than ten minutes ago are forgotten: mappings that are polled rarely turn for ever",
        "sync/state.py",
        "    ORDER BY o.finished_at DESC LIMIT 1\n",
        "    ORDER BY o.finished_at DESC LIMIT 0\n",
        (f"{GUARDS}::test_a_circle_that_turns_once_in_hours_is_seen",),
    ),
    Bug(
        "put-back-goes-round",
        "what somebody put back is taken for our own old write going on, and asked about as a circle",
        "sync/plan.py",
        "    return any(later.at > own.at and later.source not in (MISSING, own.value) for later in carried)\n",
        "    return any(later.at < own.at and later.source not in (MISSING, own.value) for later in carried)\n",
        ("sync/tests/test_plan.py",),
    ),
    Bug(
        "hidden-given-up",
        "a write without an answer is given up while its record may only be hidden",
        "sync/probes.py",
        "if not _may_be_hidden(session, operation) or now >= sent_at + HIDDEN_AT_MOST:",
        "if not _may_be_hidden(session, operation) or now < sent_at + HIDDEN_AT_MOST:",
        ("sync/tests/test_engine_setbacks.py::test_a_write_whose_record_is_hidden_waits_for_it_an_hour_at_most",),
    ),
    Bug(
        "whole-record-without-what-is-hidden",
        "a write of a whole record empties the fields that our account is not shown",
        "connections/connectors/rest_writes.py",
        "    if whole and (hidden := _hidden(objects, raw, values)):\n",
        "    if whole and (hidden := []):\n",
        ("connections/tests/test_connector_rest.py",),
    ),
    Bug(
        "made-and-told-as-undone",
        "a create that was answered is told as not done where the people of its record cannot be asked for",
        "connections/connectors/rest_writes.py",
        "with suppress(ValueError, ConnectorError):",
        "with suppress(ValueError):",
        (
            "connections/tests/test_connector_rest.py"
            "::test_a_write_whose_people_cannot_be_asked_for_is_done_and_not_told_as_undone",
        ),
    ),
    Bug(
        "named-and-forgotten",
        "a create whose answer named its record is looked for as if nobody knew which one it made",
        "sync/recover_creates.py",
        "    if operation.external_id:\n",
        "    if False:\n",
        (f"{ANSWERED_CREATES}::test_the_pair_is_bound_by_the_id_and_nobody_is_asked",),
    ),
    Bug(
        "believed-gone-once-is-for-good",
        "a record that was believed gone, was back, and is not found once counts as gone, and its twin is deleted",
        "sync/sightings.py",
        '            save_rows(back, ["deleted_left", "deleted_right"])\n',
        "            pass\n",
        ("sync/tests/test_engine_sightings.py::test_one_that_was_there_beside_a_hidden_twin_is_not_gone_any_more",),
    ),
    Bug(
        "asked-about-and-deleted",
        "a bell that tells of the deletion of a record about which a person is asked is thrown away",
        "sync/jobs.py",
        "        if link is None and hint.deleted and hint.external_id not in noted:\n",
        "        if link is None and hint.deleted:\n",
        ("sync/tests/test_engine_matching.py::test_a_question_ends_when_its_record_is_deleted_whoever_tells",),
    ),
    Bug(
        "asked-about-and-hidden",
        "a complete listing that lacks a record which may only be hidden ends the question about it",
        "sync/read.py",
        "    if not able(session, side).not_found_means_gone:\n        return set()\n    asked",
        "    asked",
        (
            "sync/tests/test_engine_matching.py"
            "::test_a_record_that_a_listing_lacks_and_that_may_be_hidden_stays_asked_about",
        ),
    ),
    Bug(
        "not-looked-up-for-ever",
        "a write that nobody may look up blocks its pair for ever, and nobody is told",
        "sync/recover.py",
        "    if looks < LOOKS_AT_LEAST or now",
        "    if True or now",
        (f"{NOT_LOOKED_UP}::test_a_person_is_told_why_nobody_can_look_and_nothing_is_sent_again",),
    ),
    Bug(
        "not-looked-up-is-not-done",
        "an update that nobody may look up counts as not done",
        "sync/recover.py",
        "        elif operation.kind == Operation.Kind.DELETE or not operation.fields:\n            # It says",
        "        elif True:\n            # It says",
        (NOT_LOOKED_UP,),
    ),
    Bug(
        "create-not-looked-up-is-not-done",
        "a create that nobody may look up counts as not done, and is made again",
        "sync/recover.py",
        "        if operation.kind == Operation.Kind.CREATE:\n            create_not_looked_up(",
        "        if operation.kind == Operation.Kind.CREATE:\n            plan_again(session, operation)\n"
        "        elif not message:\n            create_not_looked_up(",
        (f"{NOT_LOOKED_UP}::test_a_create_becomes_the_question_whether_it_happened_and_is_not_sent_again",),
    ),
    Bug(
        "named-and-given-up-copied",
        "the record that a given up create's answer named is copied back once somebody edited it",
        "sync/creates_under_way.py",
        "        if one.record.external_id == self.named:\n",
        "        if False:\n",
        (f"{NOT_LOOKED_UP}::test_a_create_becomes_the_question_whether_it_happened_and_is_not_sent_again",),
    ),
    Bug(
        "asked-of-one-mapping-alone",
        "while a person is asked whether a record was made, another mapping to the same system makes it",
        "sync/creates_under_way.py",
        " if link.mapping_id != session.mapping.pk]\n",
        " if False]\n",
        (f"{CIRCLES}::test_what_a_person_is_asked_about_is_neither_made_nor_copied_by_another_mapping",),
    ),
    Bug(
        "unclear-of-one-mapping-alone",
        "what an unanswered create of another mapping may have made is copied",
        "sync/creates_under_way.py",
        "        creates = _creates_into(session, side)\n        given_up",
        "        creates = _creates_into(session, side).filter(mapping=session.mapping)\n        given_up",
        (f"{CIRCLES}::test_what_a_person_is_asked_about_is_neither_made_nor_copied_by_another_mapping",),
    ),
    Bug(
        "planned-before-asked",
        "a create that was planned before a person was asked at another mapping's link is sent",
        "sync/apply.py",
        "            found |= {o.pk for o in creates if o.link.identity_id in asked and o.instruction_id is None}\n",
        "",
        (f"{CIRCLES}::test_a_create_planned_before_a_person_was_asked_is_not_sent",),
    ),
    Bug(
        "planned-again-while-asked",
        "a link whose twin is still to be made gets it while a person is asked at another mapping's link",
        "sync/decide.py",
        "        if elsewhere.state == Link.State.CREATING:\n",
        "        if False:\n",
        (CIRCLES,),
    ),
    Bug(
        "left-unlinked-is-no-answer",
        "a person who left a record unlinked counts as one who said that its twin was not made",
        "sync/unlinked.py",
        "            decision = may_have_a_twin(session, one.side, one.record, link)\n",
        "            pass\n",
        (f"{CIRCLES}::test_left_unlinked_without_an_answer_the_other_mapping_asks",),
    ),
    Bug(
        "which-one-of-one-mapping-alone",
        "while a person is asked which record is ours, another mapping binds the first one that rings",
        "sync/creates_under_way.py",
        "_without_answer(session, side, things) if link.state == Link.State.CREATING]\n",
        "_without_answer(session, side, things) if link.mapping_id == session.mapping.pk]\n",
        (f"{CIRCLES}::test_which_of_several_is_ours_no_other_mapping_decides",),
    ),
    Bug(
        "twin-of-what-we-make",
        "a record that our open create named is taken for somebody else's, and gets a twin",
        "sync/unlinked.py",
        " or one.record.external_id in under_way.records:",
        ":",
        (f"{ANSWERED_CREATES}::test_until_it_is_read_a_bell_for_it_makes_no_twin_of_it",),
    ),
    Bug(
        "late-write-untold",
        "a worker that wakes up in the middle of a call does not say that it wrote, nor what it replaced",
        "sync/late.py",
        "        if given_up.update(state=Operation.State.LATE, result=told):\n",
        "        if given_up.exclude(pk=operation.pk).update(state=Operation.State.LATE, result=told):\n",
        ("sync/tests/test_engine_overwritten.py::test_a_write_that_wakes_up_late_tells_what_it_replaced",),
    ),
    Bug(
        "part-taken-for-whole",
        "an unanswered write is believed because one of its fields is there",
        "sync/recover.py",
        "        return later if wanted <= {change.field for change in later} else None\n",
        "        return later\n",
        ("sync/tests/test_engine_overwritten.py::test_a_write_that_wakes_up_late_does_not_vouch_for_another_one",),
    ),
    Bug(
        "freed-by-a-plan",
        "a refused value is freed by a write the other way that is only planned, and sent again once that one failed",
        "sync/plan.py",
        "if rule.id in link.parked and not isinstance(outcome, Skip | Write | Ask):",
        "if rule.id in link.parked and not isinstance(outcome, Skip | Ask):",
        ("sync/tests/test_engine_setbacks.py::test_a_refused_value_waits_until_something_else_has_arrived",),
    ),
    Bug(
        "freed-by-another-question",
        "another question about the field frees what is parked: once values end it, what may be ours is sent again",
        "sync/plan.py",
        "if rule.id in link.parked and not isinstance(outcome, Skip | Write | Ask):",
        "if rule.id in link.parked and not isinstance(outcome, Skip | Write):",
        (
            "sync/tests/test_engine_setbacks.py"
            "::test_what_an_unanswered_write_may_have_brought_outlives_another_question_about_the_field",
        ),
    ),
    Bug(
        "newest-by-the-record",
        "an edit that waits takes the time of whatever else is edited in its record: the older one wins",
        "sync/edit_times.py",
        """            elif "value" in known and record.values""",
        """            elif "values" in known and record.values""",
        (f"{NEWEST}::test_while_another_field_waits_each_edit_keeps_the_time_of_the_first_read_that_showed_it",),
    ),
    Bug(
        "unread-taken-for-read",
        "a read that does not show a field counts as one that showed its old value: what was edited before it is newer",
        "sync/edit_times.py",
        """known.get("unread_since", last_read)""",
        """known.get("read_since", last_read)""",
        (f"{NEWEST}::test_a_field_that_reads_did_not_show_may_have_been_edited_since_the_last_one_that_did",),
    ),
    Bug(
        "coarse-stamp-taken-exactly",
        "what a system stamps by the minute is taken to have happened at its beginning",
        "sync/edit_times.py",
        "        end = stamp + session.connectors[side].capabilities.stamp_granularity\n",
        "        end = stamp + 0.0\n",
        (f"{NEWEST}::test_what_a_coarse_stamp_says_may_have_happened_until_its_end",),
    ),
    Bug(
        "answer-told-as-overtaken",
        "what a person answered arrived with a write that was not answered: the log does not say that they decided",
        "sync/recover.py",
        "        entries += _end_questions(session, operation, agreed - overwritten.keys())\n",
        "        entries += _end_questions(session, operation, ())\n",
        (
            "sync/tests/test_engine_setbacks.py"
            "::test_a_choice_that_arrived_is_told_as_answered_though_another_field_of_its_write_did_not",
        ),
    ),
    Bug(
        "found-later-assumed-agreed",
        "what a record says that we found later is taken for its start, and somebody's edit of it overwritten",
        "sync/recover_creates.py",
        "settle(session, [(operation, as_found(session, operation, mine[0]))], late=True)",
        "settle(session, [(operation, as_found(session, operation, mine[0]))])",
        (f"{EDITED_CREATES}::test_what_was_edited_in_a_record_that_we_found_later_is_an_edit",),
    ),
    Bug(
        "sent-with-a-twin-forgotten",
        "what a person sends with a twin is forgotten once it was refused for another field",
        "sync/commit.py",
        """    "typed",
""",
        "",
        (f"{EDITED_CREATES}::test_of_two_refused_fields_the_first_edit_goes_with_the_second",),
    ),
    Bug(
        "sent-with-a-twin-of-an-older-source",
        "what a person sends with a twin is sent though its source was edited meanwhile",
        "sync/asked.py",
        'return path not in record.values or bool(record.values[path] == sent["seen"])',
        "return True",
        (f"{EDITED_CREATES}::test_what_was_sent_stands_until_its_source_is_edited",),
    ),
    Bug(
        "double-by-an-edited-key",
        "the match key that a person sends with a twin is not looked up: a second record is made",
        "sync/without_twin.py",
        "    return found | _fits_what_was_sent(session, {",
        "    return found or _fits_what_was_sent(session, {",
        (f"{EDITED_CREATES}::test_a_match_key_that_is_sent_is_looked_up",),
    ),
    Bug(
        "earlier-unanswered-write-forgotten",
        "of two unanswered writes of a set the first is forgotten: what it brought, and somebody took away, comes back",
        "sync/recover.py",
        "    if rule is not None and rule.is_set and before:\n",
        "    if rule is not None and not rule.is_set and before:\n",
        (
            "sync/tests/test_engine_setbacks.py"
            "::test_a_member_that_one_of_two_unanswered_writes_brought_is_not_sent_again",
        ),
    ),
    Bug(
        "unanswered-write-forgotten-by-a-refusal",
        "the refusal of another value hides what an unanswered write may have brought, and it comes back",
        "sync/setbacks.py",
        '    maybe = unsure_of(before) if before and code != "maybe_written" else None\n',
        "    maybe = None\n",
        (
            "sync/tests/test_engine_setbacks.py"
            "::test_what_an_unanswered_write_may_have_brought_outlives_the_refusal_of_another_value",
        ),
    ),
    Bug(
        "write-sent-on-not-done",
        "a write that is answered with a redirect counts as not done, and is sent again although it was taken",
        "connections/connectors/http.py",
        """        if write:
            told = "It may have taken our change or not; we look before anything is sent again."
            return Uncertain(""",
        """        if write:
            told = "It may have taken our change or not; we look before anything is sent again."
            return Retry(""",
        ("connections/tests/test_http.py::test_a_write_that_is_sent_on_may_have_been_taken",),
    ),
    Bug(
        "servicenow-login-page-denies-a-write",
        "a log-in page with a status 5xx says that a write was not done",
        "connections/connectors/servicenow_errors.py",
        "    return 400 <= status < 500\n",
        "    return status >= 400\n",
        ("connections/tests/test_connector_servicenow.py",),
    ),
    Bug(
        "older-create-counts-as-the-newer",
        "values of an earlier create, to whose record the same key leads, go back over the newer ones of the source",
        "sync/settle.py",
        "    older = creating and late and as_sent_then(session, operation, record)\n",
        "    older = False\n",
        ("sync/tests/test_engine_repeated_creates.py",),
    ),
    Bug(
        "servicenow-left-out-of-a-create",
        "a column that ServiceNow left out of a create empties the source",
        "connections/connectors/servicenow_writes.py",
        '    return plain(raw) == "" or column.begins_as(plain(raw))\n',
        "    return column.begins_as(plain(raw)) and bool(plain(raw))\n",
        ("sync/tests/test_engine_servicenow.py::test_a_column_that_a_create_leaves_out_never_empties_the_source",),
    ),
    Bug(
        "servicenow-left-out-beside-others",
        "a column that ServiceNow left out of an update brings its old value back as soon as another was written",
        "connections/connectors/servicenow_writes.py",
        "            return known.said(path, record.values[path])\n",
        "            return False\n",
        (
            "sync/tests/test_engine_servicenow.py"
            "::test_a_column_that_an_update_leaves_out_beside_others_never_brings_the_old_value_back",
        ),
    ),
    Bug(
        "twin-closed-by-its-first-step",
        "a twin whose closing takes steps is told as closed after the first",
        "sync/settle.py",
        "    if closing and reached == operation.extra:",
        "    if closing:",
        ("sync/tests/test_engine_deletions.py::test_a_twin_whose_closing_takes_steps_is_closed_to_the_end",),
    ),
    Bug(
        "edit-beside-a-record-out-of-scope-lost",
        "a record returns to the scope by a field that is not mapped: what its twin said meanwhile never crosses",
        "sync/look.py",
        "asked = asked or bool(link.out_of_scope)",
        "asked = asked or False",
        ("sync/tests/test_engine_scope.py::test_an_edit_of_the_twin_made_meanwhile_crosses_when_the_record_returns",),
    ),
    Bug(
        "gone-at-the-first-sighting",
        "the wait beside a hidden record counts as a sighting of the twin, which is believed gone at its own first one",
        "sync/sightings.py",
        "        error = BESIDE_UNREADABLE\n",
        "        error = UNREADABLE\n",
        (
            "sync/tests/test_engine_sightings.py"
            "::test_a_twin_that_waited_beside_a_hidden_record_is_not_gone_at_its_first_sighting",
        ),
    ),
    Bug(
        "sighting-of-a-record-that-was-there",
        "a first sighting counts though the record was there since",
        "sync/decide.py",
        "    found_again(session, links, reading, rung)\n",
        "",
        (
            "sync/tests/test_engine_sightings.py"
            "::test_a_record_that_was_there_between_two_looks_that_did_not_find_it_is_not_gone",
        ),
    ),
    Bug(
        "twin-out-of-scope-deleted",
        "a twin that left the scope is deleted or closed with its record, though time stands still for it",
        "sync/plan_deletion.py",
        "    elif outside and policy in",
        "    elif False and policy in",
        ("sync/tests/test_engine_scope.py::test_a_twin_out_of_scope_is_neither_deleted_nor_closed_unasked",),
    ),
    Bug(
        "scope-of-a-twin-not-asked",
        "beside a record that is not there it is not asked whether its twin left the scope, and it is deleted",
        "sync/decide.py",
        "    return [id in reading.absent[side] or reading.get(side, id) is not None for side, id in ids]\n",
        "    return [reading.get(side, id) is not None for side, id in ids]\n",
        ("sync/tests/test_engine_scope.py::test_a_twin_out_of_scope_is_asked_about_where_its_record_is_not_found",),
    ),
    Bug(
        "listed-again-stays-out-of-scope",
        "a record that a complete listing shows in the scope again stands still until somebody edits it",
        "sync/read.py",
        "                gone or outside == side\n",
        "                gone\n",
        ("sync/tests/test_engine_scope.py::test_a_record_that_is_back_without_an_edit_resumes_once_all_is_listed",),
    ),
    Bug(
        "failed-comparison-counts-as-done",
        "a complete comparison that failed because a system was down is begun again a week later only",
        "sync/schedule.py",
        'sound=Max("created_at", filter=~BROKE_OFF))',
        'sound=Max("created_at"))',
        ("sync/tests/test_verify.py::test_a_complete_comparison_of_a_system_that_is_down_is_tried_again_after_a_day",),
    ),
    Bug(
        "failed-comparison-begun-every-hour",
        "a complete comparison of a system that is down is begun again every hour",
        "sync/schedule.py",
        "complete <= now - COMPLETE_EVERY and tried <= now - COMPLETE_AGAIN:",
        "complete <= now - COMPLETE_EVERY:",
        ("sync/tests/test_verify.py::test_a_complete_comparison_of_a_system_that_is_down_is_tried_again_after_a_day",),
    ),
    Bug(
        "repairs-written-unseen",
        "of the repairs that a person confirms only the first fifty were shown",
        "sync/views/verifications.py",
        "[shown.line_of(line) for line in possible],",
        "[shown.line_of(line) for line in possible[:50]],",
        ("sync/tests/test_verification_pages.py::Repairing",),
    ),
    Bug(
        "out-of-scope-never-verified",
        "a verification believes that what left the scope is still outside",
        "sync/verify_walk.py",
        "    if pair.returned:\n",
        "    if False:\n",
        (
            "sync/tests/test_engine_scope.py"
            "::test_a_record_that_is_back_without_an_edit_resumes_once_its_pair_is_verified",
        ),
    ),
    Bug(
        "twin-waits-for-good",
        "a twin that waited while a version made none is not made under the next one that does",
        "sync/versions.py",
        "        if _differ(session, before, *OF_TWINS):\n",
        "        if False:\n",
        (
            "sync/tests/test_engine_versions.py"
            "::test_a_twin_that_waited_while_no_twins_were_made_is_made_once_they_are_again",
        ),
    ),
    Bug(
        "let-in-never-listed",
        "what a wider scope lets in, or other match keys could match, is never found",
        "sync/versions.py",
        "        noting.begin(session, state, sides_to_list(before, session.version.document))\n",
        "",
        ("sync/tests/test_engine_noting.py",),
    ),
    Bug(
        "matched-while-noting",
        "while what a version lets in is still noted, a new record is bound to what happens to be noted already",
        "sync/unlinked.py",
        "    if rest and noting.under_way(session):\n",
        "    if rest and False:\n",
        ("sync/tests/test_engine_noting.py::test_nothing_is_matched_before_what_comes_in_was_listed_and_looked_at",),
    ),
    Bug(
        "broken-listing-lets-all-in",
        "a listing of what a version lets in counts as whole although it broke off",
        "sync/noting.py",
        "    connector, listed = session.connectors[side], 0\n",
        "    connector, listed = session.connectors[side], 0\n"
        "    Cursor.objects.filter(mapping=session.mapping, side=side).update(to_note=False)\n",
        ("sync/tests/test_engine_noting.py",),
    ),
    Bug(
        "one-unreadable-record-holds-all",
        "a record that cannot be read keeps all others from being matched for good",
        "sync/noting.py",
        "        attempts__lt=hints.LISTED_AFTER,\n",
        "",
        ("sync/tests/test_engine_noting.py::test_a_record_that_cannot_be_read_keeps_no_other_waiting_for_good",),
    ),
    Bug(
        "survey-of-another-version",
        "what a first run noted counts as noted for a version that was published right after its approval",
        "sync/first_run.py",
        "            version=session.version,  # ⚑ what was noted is noted for this one\n",
        "",
        ("sync/tests/test_engine_noting.py",),
    ),
    Bug(
        "waiting-out-of-scope-for-good",
        "a version whose scope lets a record in again leaves what was written beside it where it is",
        "sync/versions.py",
        '        if _differ(session, before, "scope"):\n',
        "        if False:\n",
        ("sync/tests/test_engine_scope.py::test_edits_that_waited_out_of_scope_cross_once_a_version_lets_them_in",),
    ),
    Bug(
        "noted-takes-the-turn",
        "what is noted already is read again and again before what is not",
        "sync/noting.py",
        "    hints.postpone(noted, WAIT_SECONDS, hints.Lane.BACKFILL)\n",
        "    hints.postpone(noted, WAIT_SECONDS / 60)\n",
        ("sync/tests/test_engine_noting_waits.py::test_what_is_noted_takes_no_turn_of_what_is_not",),
    ),
    Bug(
        "noting-waits-for-one-that-is-linked",
        "a listed record that our create made keeps everything from being matched for good",
        "sync/noting.py",
        ".exclude(_linked(session)).exists()",
        ".exists()",
        ("sync/tests/test_engine_noting_waits.py::test_a_listed_record_that_our_create_made_keeps_nothing_waiting",),
    ),
    Bug(
        "empty-listing-notes-all",
        "a listing that shows nothing counts as one of all that there is",
        "sync/noting.py",
        "    if not listed and (missed := missed_if_none(session, side)):",
        "    if not listed and (missed := 0):",
        ("sync/tests/test_engine_noting_waits.py::test_a_listing_that_shows_nothing_while_records_are_linked_is_none",),
    ),
    Bug(
        "compared-while-noting",
        "a comparison after a restore counts nothing of what waits to be noted",
        "sync/after_restore.py",
        " + len(meeting.noted)",
        "",
        (
            "sync/tests/test_restored.py::test_what_is_noted_for_a_version_is_noted_before_anything_is_linked_or_counted",
        ),
    ),
    Bug(
        "compared-by-new-keys-at-once",
        "a comparison after a restore links by the keys of a new version before all that fits was noted",
        "sync/after_restore.py",
        "    if state.version is not None:  #",
        "    if False:  #",
        (
            "sync/tests/test_restored.py::test_what_is_noted_for_a_version_is_noted_before_anything_is_linked_or_counted",
        ),
    ),
    Bug(
        "anything-ours-may-be-it",
        "whatever our account made at any time waits while a person is asked about one create",
        "sync/creates_under_way.py",
        "        return not made_before(session, one.side, one.record, self.since) and may_be_made_by",
        "        return may_be_made_by",
        ("sync/tests/test_engine_circles.py::test_only_what_was_made_since_may_be_what_is_asked_about",),
    ),
]
