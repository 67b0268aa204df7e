// Who is signed in on which connections. Loop thread only. A connection is listed under the session its
// caller has (session->net is the head of that list) and under the person of the session, so that a notice
// costs only its receivers.
#include "net/inside.h"
#include <stdlib.h>
#include <uthash.h>

struct person {
    UT_hash_handle hh;
    struct hm_conn *conns;
    char key[200]; // institution, a line feed, person
};
struct hm_people {
    struct person *persons;
};

struct hm_people *hm_people_new(void) {
    return hm_alloc(sizeof(struct hm_people));
}

void hm_people_free(struct hm_people *people) {
    free(people);
} // every connection has left before

static struct person *find(struct hm_people *people, const char *institution, struct hm_str id, bool make) {
    char key[sizeof((struct person *)0)->key];
    struct person *person = NULL;
    snprintf(key, sizeof key, "%s\n%.*s", institution, (int)id.len, id.ptr);
    HASH_FIND_STR(people->persons, key, person);
    if (!person && make) {
        person = hm_alloc(sizeof *person);
        memcpy(person->key, key, sizeof key);
        HASH_ADD_STR(people->persons, key, person);
    }
    return person;
}

static void list_person(struct hm_conn *conn) {
    const struct hm_session *session = conn->session;
    if (!session->person[0]) return;
    struct person *person = find(conn->net->people, session->institution, hm_str_of(session->person), true);
    conn->person = person;
    conn->person_prev = NULL;
    conn->person_next = person->conns;
    if (person->conns) person->conns->person_prev = conn;
    person->conns = conn;
}

static void unlist_person(struct hm_conn *conn) {
    struct person *person = conn->person;
    if (!person) return;
    if (conn->person_prev)
        conn->person_prev->person_next = conn->person_next;
    else
        person->conns = conn->person_next;
    if (conn->person_next) conn->person_next->person_prev = conn->person_prev;
    conn->person = NULL;
    conn->person_next = conn->person_prev = NULL;
    if (!person->conns) {
        HASH_DEL(conn->net->people->persons, person);
        free(person);
    }
}

static void list_session(struct hm_conn *conn) {
    struct hm_conn *head = conn->session->net;
    conn->session_prev = NULL;
    conn->session_next = head;
    if (head) head->session_prev = conn;
    conn->session->net = conn;
}

static void unlist_session(struct hm_conn *conn) {
    if (conn->session_prev)
        conn->session_prev->session_next = conn->session_next;
    else
        conn->session->net = conn->session_next;
    if (conn->session_next) conn->session_next->session_prev = conn->session_prev;
    conn->session_next = conn->session_prev = NULL;
}

void hm_people_leave(struct hm_conn *conn) {
    if (!conn->session) return;
    hm_tally_down(conn->net->conns_by_account, conn->account);
    conn->account = NULL;
    unlist_person(conn);
    unlist_session(conn);
    hm_session_unref(conn->session);
    conn->session = NULL;
}

void hm_people_sync(struct hm_conn *conn) {
    struct hm_session *now = conn->caller->session;
    if (now == conn->session) return;
    hm_sub_close(conn->sub); // what another person may see must not go on
    hm_people_leave(conn);
    if (!now) return;
    char key[HM_ACCOUNT_KEY_MAX];
    conn->session = hm_session_ref(now);
    hm_account_key(now, key);
    conn->account = hm_tally_up(conn->net->conns_by_account, key);
    list_session(conn);
    list_person(conn);
}

void hm_people_each(struct hm_people *people, const char *institution, struct hm_str id,
                    struct hm_session *session, void (*fn)(struct hm_conn *conn, void *arg), void *arg) {
    struct person *person = session ? NULL : find(people, institution, id, false);
    struct hm_conn *conn = session ? session->net : person ? person->conns : NULL;
    while (conn) {
        struct hm_conn *next = session ? conn->session_next : conn->person_next;
        fn(conn, arg);
        conn = next;
    }
}
