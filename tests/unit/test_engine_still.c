// Who asks may have become somebody else while their call was under way: signed out, closed, of other roles.
// Commits are held back by a transaction of the test's, which the institution's commit thread must wait for.
#include "engine/internal.h"
#include "engine_fixture.h"
#include "store/internal.h"

static struct institution *place(struct house *h) {
    return hm_inst_find(h->engine, "i");
}

static MDB_txn *hold_commits(struct house *h) {
    MDB_txn *txn = NULL;
    assert_int_equal(mdb_txn_begin(place(h)->store->env, NULL, 0, &txn), 0);
    return txn;
}

static void until_unfinished(struct house *h, size_t items) { // so many commits are under way
    for (int i = 0; i < 1000 && place(h)->committer.unfinished < items; i++)
        spin(h, NULL, 0.02);
    assert_int_equal(place(h)->committer.unfinished, items);
}

static void close_params(struct house *h, const char *login, char params[128]) {
    struct hm_json list, items, item;
    char id[64] = "", name[64];
    assert_ok(ask(h, h->control, "account.list", "{}"));
    assert_true(hm_json_parse(hm_str_of(last_reply.result), &list, NULL));
    assert_true(hm_json_get(list, "items", &items));
    struct hm_json_iter it = hm_json_iter(items);
    while (hm_json_next(&it, NULL, &item))
        if (hm_json_get_text(item, "login", name, sizeof name) && strcmp(name, login) == 0)
            hm_json_get_text(item, "id", id, sizeof id);
    assert_true(id[0]);
    snprintf(params, 128, "{\"account\":\"%s\",\"state\":\"closed\"}", id);
}

#define EVE "{\"login\":\"eve\",\"password\":\"a fairly long pass phrase\",\"roles\":[\"administrator\"]}"

static void an_administrator_closed_while_a_password_is_hashed_gets_no_account_made(void **state) {
    struct house *h = *state;
    struct reply made;
    char params[128];
    account(h, "adm", "", "[\"administrator\"]");
    struct hm_caller *adm = sign_in(h, "adm");
    close_params(h, "adm", params);
    ev_async_stop(h->loop, &h->engine->passwords_ready); // however quick the hash is
    call_as(h, adm, "account.create", EVE, &made);
    assert_ok(ask(h, h->control, "account.set_state", params));
    assert_false(made.there);
    ev_async_start(h->loop, &h->engine->passwords_ready);
    ev_async_send(h->loop, &h->engine->passwords_ready);
    await(h, &made);
    assert_int_equal(made.code, HM_UNAUTHENTICATED);
    assert_ok(ask(h, h->control, "account.list", "{}"));
    assert_false(has(last_reply.result, "eve"));
    reply_free(&made);
    hm_caller_unref(adm);
}

static void an_account_is_not_made_behind_a_commit_that_closes_who_makes_it(void **state) {
    struct house *h = *state;
    struct reply made, closed;
    char params[128];
    account(h, "adm", "", "[\"administrator\"]");
    struct hm_caller *adm = sign_in(h, "adm");
    close_params(h, "adm", params);
    until_unfinished(h, 0);
    MDB_txn *txn = hold_commits(h);
    call_as(h, h->control, "account.set_state", params, &closed);
    until_unfinished(h, 1);
    call_as(h, adm, "account.create", EVE, &made);
    until_unfinished(h, 2);
    mdb_txn_abort(txn);
    await(h, &closed);
    await(h, &made);
    assert_int_equal(closed.code, HM_OK);
    assert_int_equal(made.code, HM_CONFLICT);
    assert_ok(ask(h, h->control, "account.list", "{}"));
    assert_false(has(last_reply.result, "eve"));
    reply_free(&made);
    reply_free(&closed);
    hm_caller_unref(adm);
}

static void a_write_is_not_acknowledged_behind_the_commit_that_revokes_its_session(void **state) {
    struct house *h = *state;
    struct reply put, revoked;
    char params[128], name[HM_SESSION_NAME];
    account(h, "ann", "p1", "[]");
    struct hm_caller *a = sign_in(h, "ann"), *b = sign_in(h, "ann");
    hm_session_name(b->session->token_hash, name);
    snprintf(params, sizeof params, "{\"id\":\"%s\"}", name);
    assert_ok(ask(h, b, "echo", "{}")); // a worker is there
    until_unfinished(h, 0);
    MDB_txn *txn = hold_commits(h);
    call_as(h, a, "session.revoke", params, &revoked);
    until_unfinished(h, 1);
    call_as(h, b, "put", "{\"id\":\"late\"}", &put);
    until_unfinished(h, 2);
    mdb_txn_abort(txn);
    await(h, &revoked);
    await(h, &put);
    assert_int_equal(revoked.code, HM_OK);
    assert_int_equal(put.code, HM_UNAUTHENTICATED);
    assert_int_equal(ask(h, a, "record.get", "{\"type\":\"note\",\"id\":\"late\"}"), HM_NOT_FOUND);
    reply_free(&put);
    reply_free(&revoked);
    hm_caller_unref(a);
    hm_caller_unref(b);
}

int main(int argc, char **argv) {
    FAKE_WORKER_MAIN(argc, argv);
#define TEST(name) cmocka_unit_test_setup_teardown(name, house_setup, house_teardown)
    const struct CMUnitTest tests[] = {
        TEST(an_administrator_closed_while_a_password_is_hashed_gets_no_account_made),
        TEST(an_account_is_not_made_behind_a_commit_that_closes_who_makes_it),
        TEST(a_write_is_not_acknowledged_behind_the_commit_that_revokes_its_session),
    };
    return cmocka_run_group_tests_name("engine: who asked, still", tests, NULL, NULL);
}
