"""Reason codes as sentences. Everything that explains itself stores a code with parameters and is rendered here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mappings.transforms.render import as_text, one_line

# One sentence per code. Parameters in braces; a missing one shows as "?" rather than failing a page.
SENTENCES: dict[str, str] = {
    # why a field was written
    "edited": "It was edited on the other side.",
    "source_edited": "The rule runs one way, and its source was edited.",
    "one_way_enforced": "The rule runs one way and writes again what somebody changed at its target.",
    "policy_left": "Both sides changed; the policy “{policy}” lets the left decide.",
    "policy_right": "Both sides changed; the policy “{policy}” lets the right decide.",
    "policy_newest": "Both sides changed; the {newest} edit is newer, and the policy “{policy}” lets it decide.",
    "policy_merge_sets": "Both sides changed; what either added or removed was merged.",
    "policy_merge_text": "Both sides changed different parts of the text; both edits were merged.",
    "resolved": "{by} settled it.",
    "undone": "{by} undid an earlier write.",
    "repaired": "{by} repaired what a verification found.",
    "retried": "{by} edited what is sent and sent it again.",
    "created": "The record is new on the other side.",
    "initial_one_way": "At the first meeting, a one-way rule takes its source.",
    "initial_left": "At the first meeting the left decides.",
    "initial_right": "At the first meeting the right decides.",
    "initial_newest": "At the first meeting the newer record decides.",
    "initial_fill": "At the first meeting an empty field is filled.",
    "initial_union": "At the first meeting the sets were united.",
    "twin_deleted": "Its twin was deleted, and the mapping deletes the other side.",
    "twin_closed": "Its twin was deleted, and the mapping closes the other side.",
    # why nothing was written
    "converged": "Both sides were changed to the same value.",
    "initially_equal": "Both sides said the same when they met.",
    "one_way_source_empty": "The source of this one-way rule is empty; the target was left as it is.",
    "one_way_target_kept": "Somebody edited the target of a one-way rule; it was left as it is.",
    "direction_keeps": "The rule does not write to that side; both values were left as they are.",
    "kept_apart": "What was added and taken away was carried over; the rest may go on differing, as was agreed.",
    "agreed_to_differ": "{by} agreed that the two values may differ.",
    "made_of_it": "{system} made another value of what it alone was sent; the two may differ.",
    "left_as_it_is": "{by} left the field as it is.",
    "linked": "The records were found to be the same thing.",
    "merge_followed": "{was} was merged into another record in {system}; the pair goes on with that one.",
    # why a person is asked
    "both_changed": "Both sides changed it after they last agreed. The policy “{policy}” leaves it to you.",
    "edits_touch": "Both sides changed the same lines; they cannot be merged without a person.",
    "times_overlap": "Both sides changed it within {tolerance} s of each other; which is newer cannot be told.",
    "initially_different": "The two records differed when they first met.",
    "never_agreed": "The two sides never agreed on this field.",
    "direction_forbids": "The rule does not write to that side.",
    "value_not_in_map": "“{value}” has no counterpart in the value map.",
    "edited_shortened_copy": "The text was edited in a shortened copy; carrying it back would lose the rest.",
    "person_unknown": "Nobody on the other side is known as “{value}”.",
    "queue_not_mapped": "The queue “{value}” has no counterpart on the other side.",
    "not_a_number": "“{value}” is not a number.",
    "not_a_date": "“{value}” is not a date.",
    "member_with_space": "“{value}” contains a space, which the other side's labels cannot hold.",
    "member_with_separator": "“{value}” contains “{separator}”, which separates the values on the other side.",
    "nested_too_deeply": "The text is nested too deeply to be carried over.",
    "person_hidden": "The person's e-mail address is hidden, so nobody can be found for them on the other side.",
    "required_would_be_emptied": "The field is empty on one side and must not be empty on the other.",
    "refused": "{system} refused the value: {message}",
    "not_allowed": "{system} does not let our account write this: {message}",
    "cut_short": "{system} kept only a part of what we sent: the beginning of a text, or fewer decimals of a number.",
    "maybe_written": "{system} did not answer our write, and the field now says something else. "
    "We may have written “{value}”.",
    "maybe_written_unseen": "{system} did not answer our write, and what became of it could not be looked up: "
    "{message} We may have written “{value}”.",
    "overwrote_an_edit": "Somebody changed this in {system} between our last look and our write, "
    "and our write replaced it. Their value is kept here and can be restored.",
    "deleted_and_edited": "The record was deleted on the {side}, while the other side was edited.",
    "deleted_and_unread": "The record was deleted on the {side}. The other side does not show our account {fields}, "
    "so nobody can tell whether it was edited there.",
    "deleted_out_of_scope": "The record was deleted on the {side}. The scope of the mapping leaves this pair out, so "
    "what is left on the other side is neither deleted nor closed unasked.",
    "deleted_ask": "The record was deleted on the {side}. The mapping leaves what to do to you.",
    "merged_away": "The record was merged into {into} on the {side}, which is kept in agreement with {twin}.",
    "several_fit": "More than one record fits: {fit}.",
    "fits_what_was_sent": "With the value that was sent, the twin would have the match key of {fit}.",
    "fits_a_linked_record": "It fits a record that is already linked to another one.",
    "key_twice": "Our key was found on {count} records: {keys}.",
    "key_elsewhere": "Our key was found on {keys}, which was not made for this record.",
    "created_or_not": "{system} did not answer our create, and we could not find out whether it happened.",
    "created_or_not_unseen": "{system} did not answer our create, and what became of it could not be looked up: "
    "{message}",
    "too_many_hops": "Our own writes went around in a circle ({hops} hops).",
    "flip_flop": "We wrote this field {writes} times in {minutes} minutes, and keep coming back to the same values.",
    "delete_refused": "{system} refused to delete the twin: {message}",
    "close_refused": "{system} refused to close the twin: {message}",
    "create_refused": "{system} refused to create the twin: {message}",
    # what of a system's fields is not as the version knows it
    "field_removed": "{system} has no field {field} any more, or hides it from our account.",
    "field_renamed": "{system} has no field {field} any more; “{suggestion}” is called the same and has the same type.",
    "field_hidden": "{system} does not show the field {field} to our account any more.",
    "type_changed": "The field {field} in {system} was {was} and is {now} now.",
    "option_removed": "{field} in {system} no longer offers {values}.",
    "shortened": "The field {field} in {system} takes {limit} characters now.",
    "read_only": "Our account may not write the field {field} in {system} any more.",
    "newly_required": "New records in {system} need the field {field} now.",
    "create_value_unusable": "The value for new records in {system} names {field}, which cannot be set there any more.",
    "create_type_changed": "{field} in {system}, which has a value for new records, was {was} and is {now} now.",
    "create_option_removed": "{field} in {system} no longer offers {values}, the value for new records.",
    "create_shortened": "{field} in {system} takes {limit} characters now; the value for new records is longer.",
    "match_field_removed": "{system} has no field {field} any more, or hides it; records are matched by it.",
    "match_field_hidden": "{system} no longer shows our account the field {field}, by which records are matched.",
    "match_field_changed": "The field {field} in {system}, by which records are matched, is {now} now.",
    "match_field_unsearchable": "{system} can no longer be searched by {field}, by which records are matched.",
    "scope_field_gone": "{system} cannot list the mapping's records: the scope names {field}. {message}",
    # what ended a conflict
    "moved": "The values moved and no longer conflict.",
    "pair_ended": "The pair ended, and what was asked about it with it.",
    "overwritten_still_asked": "What was asked here has ended; the edit that we overwrote before is still asked about.",
    "superseded": "A newer question took its place.",
    "schema_put_right": "The field is again as the mapping knows it; its rule goes on.",
    "schema_new_version": "Version {number} no longer has the problem; what waited goes on.",
    # runs
    "lease_lost": "Another worker took this run over. Nothing was lost; it goes on from the ledger.",
    "connection_unusable": "{connection} cannot be used: {reason} Nothing was lost; changes wait.",
    "version_moved_on": "Another version was published before this preview was approved; it was made again.",
    "preview_too_old": "The database was restored before this preview was approved; it was made again.",
    "waits_for_approval": "The first run waits for approval. Nothing was written.",
    "brake": "One batch would make {deed} on the {side} ({already} in the last hour; the limit is {limit}). Nothing "
    "of it was written. Look how many wait, then release a number with a reason, or hold the records.",
    "side_empty": "{system} suddenly lists no records although {links} are linked. Nothing was written. "
    "Check the connection and list again; release it only if it is true.",
    "list_again": "{by} had {system} listed again, which had come back empty.",
    "failed": "{message} Nothing was lost; it is tried again.",
    # restores and copies
    "restored_from_backup": "The database is older than what is noted outside of it: it was restored from a backup. "
    "Everything is compared first; nothing is written before a person approves.",
    "restored_elsewhere": "This database was at another place before ({was}; now {here}): it is a copy, or it has "
    "moved. Everything is compared first; nothing is written before a person approves.",
    "restored_declared": "{by} said that the database was restored from a backup. "
    "Everything is compared first; nothing is written before a person approves.",
    "restore_approved": "The comparison after the restore was approved; writing goes on: {reason}",
    "place_accepted": "The place of the database was accepted: {here}; it was {was}.",
    "made_by_us": "{keys} carries a key of ours that this database does not know: we made it, and a restore forgot it. "
    "Say whose twin it is; it is not copied.",
    "may_be_made_by_us": "{keys} may be what a create of ours made for {of}: it was not answered, and nobody said what "
    "became of it. Say whose twin it is; it is not copied.",
    "may_have_a_twin": "{keys} may have a twin in {system} already: a create of {mapping} for {of} was not answered, "
    "and nobody said what became of it. Name that twin, or let {of} be matched again there and say so then; "
    "none is made before.",
    "stood_still": "It stopped between two pages, because the mapping or a connection stands still. Nothing was lost; "
    "it is listed again afterwards.",
    "feed_not_read": "{system} was not read for {hours}, longer than it keeps its changes ({kept}): "
    "both sides are compared completely before anything is believed deleted.",
    "position_expired": "{system} no longer knows the position we had read to: everything is listed again, "
    "and both sides are compared completely before anything is believed deleted.",
    # outcomes
    "out_of_scope": "The record left the scope of the mapping; it is not written until it returns.",
    "creation_off": "The mapping does not create records on the other side.",
    "retry": "{system} could not take it now: {message} It is tried again.",
    "quota": "{system} asked us to wait; it is sent again afterwards.",
    "sign_in": "{system} did not take our sign-in any more: {message} It is sent again once somebody has signed in.",
    "not_answered": "{system} did not answer; what happened is looked up before anything is sent again.",
    "version_moved": "The record changed before our write; it was planned again from a fresh read.",
    "planned_again": "It had waited too long and was planned again from a fresh read.",
    "record_failed": "{message} Nothing was written; it is tried again.",
    "gave_up": "{system} kept failing: {message} It is listed and tried again every hour.",
    "confirmed": "Written and read back.",
    "not_applied": "Our write had no answer, and nothing showed that it had happened; it was planned again.",
    "arrived_late": "The worker stood still in the middle of this write. It arrived after it had been given up; what "
    "the record says since then is taken like anybody's edit.",
    "gone_unanswered": "Our write had no answer and the record cannot be read any more: nobody knows if it arrived.",
    "several_creates": "Several of our creates had no answer, and somebody edited the record before it was found: "
    "nobody knows if this was ever in it.",
    "unreachable": "The record cannot be read any more: deleted or hidden from our account. Nothing was written.",
    # verifications
    "verification_started": "{by} asked for a verification ({kind}, {pairs} pairs). It only reads.",
    "verification_stopped": "{by} stopped it. What was compared until then stands.",
    "verification_waits": "Live edits go first: the calls that {system} allows are used up. It goes on by itself.",
    "verification_tests": "{system} was set up anew and is tested first, since another site or account may answer now. "
    "It goes on by itself.",
    "verification_stands_still": "{head}. Nothing is read there meanwhile; it goes on by itself after that.",
    "verification_no_room": "It stopped itself: {system} left no room for it for half a day. "
    "What was compared until then stands.",
    "verification_version_moved": "It ended because another version of the mapping was published meanwhile. "
    "What was compared until then stands.",
    "verification_failed": "{message} What was compared until then stands.",
    "verification_broke_off": "Its worker ended again and again, so it was not taken up any more. "
    "What was compared until then stands.",
    # people and configuration
    "connection_created": "The connection was added.",
    "connection_changed": "The connection was changed.",
    "description_saved": "The draft of the description of its API was changed: {section}.",
    "description_used": "The draft of the description of its API was taken into use.",
    "description_discarded": "The draft of the description of its API was thrown away.",
    "description_write_tried": "{steps}",
    "connection_deleted": "The connection was removed.",
    "connection_tested": "The connection was tested.",
    "connection_test_failed": "The connection was tested and did not work.",
    "connection_probed": "A connection that did not answer was tried.",
    "connection_paused": "The connection was paused.",
    "connection_paused_for": "The connection was paused: {reason}",
    "connection_paused_until": "The connection was paused until {until}: {reason}",
    "connection_resumed": "The connection was resumed.",
    "connection_resumed_by_clock": "The time for which the connection was paused is over; it goes on.",
    "connection_down": "It stopped answering and is left alone; it is probed, and changes wait: {message}",
    "connection_back": "It answers again after {seconds} s; what waited goes on.",
    "window_added": "A maintenance window of {name} was added: {window}",
    "window_removed": "A maintenance window of {name} was removed: {window}",
    "connection_account_accepted": "The changed account was accepted.",
    "webhook_set_up": "{system} was asked to call our webhook, and does.",
    "webhook_ended": "{system} was asked to call our webhook no longer.",
    "webhook_address_replaced": "The webhook address was replaced; the old one is refused.",
    "deliveries_replayed": "{records} records of {number} webhooks, received {since} to {until}, are looked at again.",
    "watch_installed": "Triggers were installed for {object_type}.",
    "watch_removed": "The triggers of {object_type} were removed.",
    "user_created": "The user was added.",
    "user_changed": "The user's roles were changed.",
    "user_activated": "The user may sign in again.",
    "user_deactivated": "The user may not sign in any more.",
    "user_unlocked": "The locked user was unlocked.",
    "password_reset": "The password was reset.",
    "password_changed": "The password was changed by its owner.",
    "mapping_created": "The mapping was made.",
    "mapping_paused": "The mapping was paused; changes wait.",
    "mapping_paused_for": "The mapping was paused, changes wait: {reason}",
    "mapping_paused_until": "The mapping was paused until {until}, changes wait: {reason}",
    "mapping_resumed": "The mapping was resumed.",
    "mapping_resumed_by_clock": "The time for which the mapping was paused is over; it goes on.",
    "draft_saved": "The draft was saved; what runs did not change.",
    "draft_replaced": "The draft was replaced by an older version's; what it said is kept here.",
    "value_map_created": "The value map was made.",
    "value_map_saved": "The value map was changed.",
    "value_map_removed": "The value map was removed.",
    "policy_created": "The conflict policy was made.",
    "policy_saved": "The conflict policy was changed.",
    "policy_removed": "The conflict policy was removed.",
    "config_create": "Made by a configuration file.",
    "config_update": "Changed by a configuration file.",
    "config_delete": "Removed by a configuration file.",
    "version_published": "Version {number} was published.",
    "version_rolled_back": "Version {number} repeats version {rolled_back_to}.",
    "first_run_approved": "The first run was approved.",
    "allowance": "{number} × {kind} on the {side} released for one hour: {reason}",
    "held": "{number} records are held: {reason}",
    "taken_out": "A person took it out at a brake, and it is held: {reason}",
    "included": "A held record is synced again.",
    "unlinked": "{by} unlinked the records.",
    "relinked": "{by} linked the records again.",
    "linked_by_hand": "{by} said that the two records are the same thing.",
    "left_unlinked": "{by} left the record unlinked.",
    "matched_again": "{by} let the record be matched again.",
    "asked": "{by} asked for it.",
    "answered_again": "A later answer about {fields} took the place of what {by} had asked for there.",
    "fields_changed": "What a system tells of its fields changed: refused values are tried again. Pairs: {number}.",
    "failure_retried": "{by} asked to try again what failed.",
    "failure_ignored": "{by} ignores the failure until its value or cause changes: {reason}",
    "failure_heeded": "{by} lists the failure again.",
    "stale": "The field moved while you were deciding; nothing was written.",
    "partly_stale": "{fields} moved meanwhile; nothing that was asked was written there.",
    "schema_look_asked": "{by} asked to read the fields of both systems again.",
    "schema_looked": "The fields of both systems were read again.",
    "audit_exported": "The audit log was exported.",
    "audit_verified": "The audit log was checked and holds to number {number}.",
    "audit_broken": "The audit log was checked: {why} Up to number {number} it is still proved.",
    "login": "Signed in.",
    "logout": "Signed out.",
    "login_failed": "Sign-in failed.",
    "login_locked": "Too many failed sign-ins; the account is locked for a while.",
    "denied": "The page was refused to this role.",
    "deleted_on_both": "The record is gone on both sides.",
    "not_found_on_both": "The record is not found any more on either side. It counts as deleted; should it only be "
    "hidden, it is synced again within an hour of being shown.",
    "not_found_noted": "The record was not found on the {side} twice, an hour apart. It counts as deleted, and the "
    "mapping leaves its twin alone; should it only be hidden, it is synced again within an hour of being shown.",
    "not_found_unlinked": "The record was not found on the {side} twice, an hour apart. It counts as deleted: the pair "
    "was unlinked.",
    "deletion_noted": "The record was deleted on the {side}; the mapping leaves its twin alone.",
    "returned": "The deleted record is back, and the pair is synced again.",
    "rule_removed": "Its rule was removed from the mapping, or made anew: the question went with it, both values stay.",
    "returned_alone": "The deleted record is back on the {side}, its twin is not: it stays as it is.",
    "returned_first": "The record is there again on the {side}. It had no twin yet, and goes on waiting for one.",
    "returned_to_a_new_twin": "The deleted record is back on the {side}. We had deleted its twin {was} in {system}: "
    "it gets a new one.",
    "returned_as_another": "The id of the deleted record is back, but its match keys are others: the pair stays apart.",
    "returned_untold": "The id of the deleted record is back, and no match key tells whether it is the same thing: the "
    "pair stays apart.",
    "deletion_unlinked": "The record was deleted on the {side}; the pair was unlinked.",
}


# What is said of a write whose fate is not known where the system told why it could not be looked up.
UNSEEN: Mapping[str, str] = {"maybe_written": "maybe_written_unseen", "created_or_not": "created_or_not_unseen"}

# What one write and what many writes do of a kind that a brake counts. An emptied field counts like a deletion.
DEEDS: Mapping[str, tuple[str, str]] = {
    "create": ("creates a record", "create records"),
    "update": ("changes a record", "change records"),
    "delete": ("deletes a record or empties a field", "delete records or empty fields"),
}


def deed(params: Mapping[str, Any]) -> str:
    """What a brake stopped: "30 writes that delete records or empty fields"."""
    number = params.get("planned", "?")
    one, many = DEEDS.get(str(params.get("kind")), ("changes a record", "change records"))
    return f"1 write that {one}" if number == 1 else f"{number} writes that {many}"


# A longer value is shown by the page itself; within a sentence its beginning tells which one is meant.
MOST_OF_A_VALUE = 120


class _Gentle(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "?"


def sentence(code: str, params: Mapping[str, Any] | None = None) -> str:
    """The sentence of a reason code; an unknown code shows as itself."""
    shown = {
        key: ", ".join(as_text(item) for item in value) if isinstance(value, list) else value
        for key, value in (params or {}).items()
    }
    if "value" in shown:
        shown["value"] = one_line(as_text(shown["value"]), MOST_OF_A_VALUE)
    if isinstance(seconds := shown.get("tolerance"), float):
        shown["tolerance"] = f"{seconds:g}"
    if code == "brake":
        shown["deed"] = deed(shown)
    if code == "key_twice" and shown.get("count") == 1:
        code = "key_elsewhere"
    message = str(shown.get("message") or "").rstrip()
    if message:
        shown["message"] = message if message[-1] in ".!?" else message + "."  # a system's own words, followed by ours
        code = UNSEEN.get(code, code)
    return SENTENCES.get(code, code.replace("_", " ").capitalize() + ".").format_map(_Gentle(shown))
