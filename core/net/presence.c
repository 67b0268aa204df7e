// Presence. Loop thread only. What always holds:
//  - A person sits in the room of each record that counts (presence.h), from the first open feed until the
//  grace time after the last one; whoever sits in a usable room together are contacts.
//  - `shown` is what contacts were told, so that nothing is told twice, and who hides looks like who is gone:
//  neither list nor notice tells one from the other.
//  - Persons are freed only by their timers, rooms with their last seat, so telling somebody, which may close
//  feeds, changes neither.
#include "net/presence.h"
#include "net/rpc.h"
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

#define KEY_MAX (65 + 1 + HM_FEED_PRINCIPAL)

struct place { // somebody in a room
    struct hm_present *who;
    size_t seat;
};
struct room { // of a record of which somebody present is a member
    UT_hash_handle hh;
    struct place *places;
    size_t count, cap;
    bool crowded; // connects nobody
    char key[];   // institution, a line feed, type:id
};
struct seat {
    struct room *room;
    size_t place;
};
struct hm_present {
    UT_hash_handle hh;
    struct hm_presence *presence;
    struct hm_principals *principals; // by which it took its seats; owned reference
    struct seat *seats;
    size_t seat_count;
    unsigned feeds;
    bool visible, shown;
    double hidden_at;      // by its own wish; 0: not
    struct ev_timer timer; // leaving, or waiting to be shown again
    uint64_t mark;
    const char *person; // in key
    char key[];         // institution, a line feed, person
};
struct hm_presence {
    struct ev_loop *loop;
    struct hm_presence_ops ops;
    double grace;
    struct hm_present *persons;
    struct room *rooms;
    uint64_t mark;
    struct hm_presence_counts counts;
};
struct list {
    struct hm_present **who;
    size_t count, cap;
};

static size_t put_key(char key[KEY_MAX], const char *institution, struct hm_str name) {
    int n = snprintf(key, KEY_MAX, "%s\n%.*s", institution, (int)name.len, name.ptr);
    return n < KEY_MAX ? (size_t)n : KEY_MAX - 1;
}

static void institution_of(const struct hm_present *p, char out[65]) {
    snprintf(out, 65, "%.*s", (int)strcspn(p->key, "\n"), p->key);
}

static void add(struct list *list, struct hm_present *p) {
    if (list->count == list->cap) {
        list->cap = list->cap ? list->cap * 2 : 16;
        list->who = hm_realloc(list->who, list->cap * sizeof(struct hm_present *));
    }
    list->who[list->count++] = p;
}

// ---- telling ------------------------------------------------------------------------------------

static struct hm_out *notice(const struct hm_present *about, bool online) {
    struct hm_buf params = {0}, text = {0};
    hm_buf_char(&params, '{');
    hm_json_member_str(&params, "person", hm_str_of(about->person));
    hm_json_member_raw(&params, "online", online ? HM_LIT("true") : HM_LIT("false"));
    hm_buf_char(&params, '}');
    hm_rpc_put_notice(&text, "presence.changed", hm_buf_view(&params));
    struct hm_out *frame = hm_out_new_for_feed(hm_buf_view(&text), 0);
    hm_buf_free(&params);
    hm_buf_free(&text);
    return frame;
}

static void tell(struct hm_present *to, struct hm_out *frame) {
    struct hm_presence *presence = to->presence;
    char institution[65];
    if (!to->feeds) return;
    institution_of(to, institution);
    presence->counts.notices++;
    presence->ops.tell(presence->ops.arg, institution, hm_str_of(to->person), frame);
}

static void tell_all(const struct hm_present *about, bool online, const struct list *to) {
    struct hm_out *frame = to->count ? notice(about, online) : NULL;
    for (size_t i = 0; i < to->count; i++)
        tell(to->who[i], frame);
    hm_out_unref(frame);
}

// Two who became contacts, or are no longer.
static void tell_each_other(struct hm_present *a, struct hm_present *b, bool online) {
    struct hm_present *both[2] = {a, b};
    for (int i = 0; i < 2; i++)
        if (both[i]->shown) tell_all(both[i], online, &(struct list){&both[1 - i], 1, 1});
}

// ---- rooms --------------------------------------------------------------------------------------

// Everybody who shares a usable room with p, each once, and marked.
static struct list contacts(struct hm_present *p) {
    struct list list = {0};
    p->mark = ++p->presence->mark;
    for (size_t i = 0; i < p->seat_count; i++) {
        const struct room *room = p->seats[i].room;
        for (size_t k = 0; !room->crowded && k < room->count; k++) {
            struct hm_present *other = room->places[k].who;
            if (other->mark == p->mark) continue;
            other->mark = p->mark;
            add(&list, other);
        }
    }
    return list;
}

// Those of its places that have no other room in common become contacts or cease to be.
static void set_crowded(struct room *room, bool crowded) {
    if (room->crowded == crowded) return;
    room->crowded = true;
    for (size_t i = 0; i < room->count; i++) {
        struct hm_present *p = room->places[i].who;
        struct list others = contacts(p); // by their other rooms
        for (size_t k = i + 1; k < room->count; k++)
            if (room->places[k].who->mark != p->mark) tell_each_other(p, room->places[k].who, !crowded);
        free(others.who);
    }
    room->crowded = crowded;
}

static struct room *room_find(struct hm_presence *presence, const char *institution, struct hm_str name) {
    char key[KEY_MAX];
    struct room *room = NULL;
    size_t len = put_key(key, institution, name);
    HASH_FIND(hh, presence->rooms, key, (unsigned)len, room);
    return room;
}

static size_t members_of(struct hm_read *read, struct hm_str name) {
    const char *colon = memchr(name.ptr, ':', name.len);
    size_t at = (size_t)(colon - name.ptr), count = 0;
    struct hm_str id = {colon + 1, name.len - at - 1}, member;
    struct hm_record record;
    struct hm_error err = {0};
    if (!hm_read_get(read, (struct hm_str){name.ptr, at}, id, &record, &err)) return SIZE_MAX;
    while (hm_packed_next(&record.members, &member))
        count++;
    return count;
}

static struct room *room_of(struct hm_presence *presence, const char *institution, struct hm_str name,
                            struct hm_read *read) {
    char key[KEY_MAX];
    struct room *room = room_find(presence, institution, name);
    if (room) return room;
    size_t len = put_key(key, institution, name);
    room = hm_alloc(sizeof *room + len + 1);
    memcpy(room->key, key, len);
    room->crowded = members_of(read, name) > HM_PRESENCE_MEMBERS;
    HASH_ADD_KEYPTR(hh, presence->rooms, room->key, (unsigned)len, room);
    return room;
}

static void sit(struct hm_present *p, struct room *room) {
    // Seats are taken before the change of the record is told (net.c), which then counts its members.
    if (room->count >= HM_PRESENCE_MEMBERS) set_crowded(room, true);
    if (room->count == room->cap) {
        room->cap = room->cap ? room->cap * 2 : 2;
        room->places = hm_realloc(room->places, room->cap * sizeof *room->places);
    }
    p->seats[p->seat_count] = (struct seat){room, room->count};
    room->places[room->count++] = (struct place){p, p->seat_count++};
}

static void stand_up(struct hm_present *p) {
    for (size_t i = 0; i < p->seat_count; i++) {
        struct room *room = p->seats[i].room;
        size_t place = p->seats[i].place;
        struct place last = room->places[--room->count];
        room->places[place] = last;
        last.who->seats[last.seat].place = place;
        if (room->count) continue;
        HASH_DEL(p->presence->rooms, room);
        free(room->places);
        free(room);
    }
    free(p->seats);
    p->seats = NULL;
    p->seat_count = 0;
}

// The principal of a record that one is a member of; others name persons, accounts, roles or everybody.
static bool is_membership(struct hm_str name) {
    static const char *const others[] = {"person:", "account:", "role:"};
    if (!memchr(name.ptr, ':', name.len)) return false;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (name.len >= strlen(others[i]) && memcmp(name.ptr, others[i], strlen(others[i])) == 0)
            return false;
    return true;
}

// The next of the records that count, of principals in their order. False at the end.
static bool next_membership(const struct hm_principals *principals, size_t *at, size_t *taken,
                            struct hm_str *name) {
    while (*taken < HM_PRESENCE_RECORDS && *at < hm_principals_count(principals)) {
        *name = hm_principals_at(principals, (*at)++);
        if (!is_membership(*name)) continue;
        ++*taken;
        return true;
    }
    return false;
}

static void sit_down(struct hm_present *p, const char *institution) {
    struct hm_presence *presence = p->presence;
    struct hm_store *store = presence->ops.store(presence->ops.arg, institution);
    struct hm_read *read = NULL;
    struct hm_str name;
    size_t at = 0, taken = 0;
    if (!store || !hm_read_begin(store, &read, NULL)) return; // then nobody is told, which is no harm
    p->seats = hm_alloc_array(HM_PRESENCE_RECORDS, sizeof *p->seats);
    while (next_membership(p->principals, &at, &taken, &name))
        sit(p, room_of(presence, institution, name, read));
    hm_read_end(read);
    p->seats = hm_realloc(p->seats, (p->seat_count ? p->seat_count : 1) * sizeof *p->seats);
}

// Takes the seats that these principals give, and tells those who became contacts or are no longer.
static void reseat(struct hm_present *p, const struct hm_session *session) {
    if (p->principals == session->principals) return;
    struct list before = contacts(p);
    stand_up(p);
    hm_principals_unref(p->principals);
    p->principals = hm_principals_ref(session->principals);
    sit_down(p, session->institution);
    struct list after = contacts(p);
    for (size_t i = 0; i < before.count; i++)
        if (before.who[i]->mark != p->mark) tell_each_other(p, before.who[i], false);
    uint64_t mark = p->mark;
    for (size_t i = 0; i < before.count; i++)
        before.who[i]->mark = mark + 1;
    for (size_t i = 0; i < after.count; i++)
        if (after.who[i]->mark == mark) tell_each_other(p, after.who[i], true);
    p->presence->mark = mark + 1;
    free(before.who);
    free(after.who);
}

// ---- being shown --------------------------------------------------------------------------------

static void show(struct hm_present *p, bool shown) {
    if (p->shown == shown) return;
    struct list list = contacts(p);
    p->shown = shown;
    p->presence->counts.online += shown ? 1 : (uint64_t)-1;
    tell_all(p, shown, &list);
    free(list.who);
}

static void leave_for_good(struct hm_present *p) {
    show(p, false);
    ev_timer_stop(p->presence->loop, &p->timer);
    stand_up(p);
    hm_principals_unref(p->principals);
    HASH_DEL(p->presence->persons, p);
    free(p);
}

static void wait(struct hm_present *p, double seconds) {
    ev_timer_stop(p->presence->loop, &p->timer);
    ev_timer_set(&p->timer, seconds, 0.);
    ev_timer_start(p->presence->loop, &p->timer);
}

// What the others are to see of somebody who has a feed open. Who hides is gone at once; who comes out again
// does so after the grace time, so that hiding and showing in turn is not a way to keep others busy.
static void settle(struct hm_present *p, bool visible) {
    struct hm_presence *presence = p->presence;
    double now = ev_now(presence->loop), left = p->hidden_at > 0 ? p->hidden_at + presence->grace - now : 0;
    p->visible = visible;
    if (!visible && p->shown) {
        show(p, false);
        p->hidden_at = now;
    } else if (visible && !p->shown && p->feeds) {
        if (left > 0)
            wait(p, left);
        else
            show(p, true);
    }
}

static void on_timer(struct ev_loop *loop, struct ev_timer *timer, int events) {
    struct hm_present *p = timer->data;
    (void)loop;
    (void)events;
    if (!p->feeds) {
        leave_for_good(p);
    } else {
        p->hidden_at = 0;
        settle(p, p->visible);
    }
}

// ---- coming and going ---------------------------------------------------------------------------

static struct hm_present *find(struct hm_presence *presence, const struct hm_session *session) {
    char key[KEY_MAX];
    struct hm_present *p = NULL;
    size_t len = put_key(key, session->institution, hm_str_of(session->person));
    HASH_FIND(hh, presence->persons, key, (unsigned)len, p);
    return p;
}

// A session that may not act as its person yet has not the person's principal either.
static bool counts(const struct hm_session *session) {
    char own[HM_FEED_PRINCIPAL + 16];
    if (!session->person[0]) return false;
    snprintf(own, sizeof own, "person:%s", session->person);
    return hm_principals_has(session->principals, hm_str_of(own));
}

static struct hm_present *present_new(struct hm_presence *presence, const struct hm_session *session) {
    char key[KEY_MAX];
    size_t len = put_key(key, session->institution, hm_str_of(session->person));
    struct hm_present *p = hm_alloc(sizeof *p + len + 1);
    p->presence = presence;
    memcpy(p->key, key, len);
    p->person = p->key + strlen(session->institution) + 1;
    ev_timer_init(&p->timer, on_timer, 0., 0.);
    p->timer.data = p;
    HASH_ADD_KEYPTR(hh, presence->persons, p->key, (unsigned)len, p);
    return p;
}

struct hm_present *hm_presence_join(struct hm_presence *presence, const struct hm_session *session) {
    if (!counts(session)) return NULL;
    struct hm_present *p = find(presence, session);
    if (!p) p = present_new(presence, session);
    if (!p->feeds) {
        ev_timer_stop(presence->loop, &p->timer);
        reseat(p, session); // nobody was there to be told of changes meanwhile
    }
    p->feeds++;
    settle(p, !session->invisible);
    return p;
}

void hm_presence_leave(struct hm_present *p) {
    if (p && --p->feeds == 0) wait(p, p->presence->grace);
}

void hm_presence_update(struct hm_presence *presence, const struct hm_session *session) {
    struct hm_present *p = counts(session) ? find(presence, session) : NULL;
    if (!p) return;
    reseat(p, session);
    settle(p, !session->invisible);
}

void hm_presence_change(struct hm_presence *presence, const char *institution,
                        const struct hm_change *change) {
    char name[HM_FEED_PRINCIPAL];
    struct hm_json members;
    if (!presence->rooms || !change->json.len || change->type.len > HM_NAME_MAX || change->id.len > HM_ID_MAX)
        return;
    int len = snprintf(name, sizeof name, "%.*s:%.*s", (int)change->type.len, change->type.ptr,
                       (int)change->id.len, change->id.ptr);
    struct room *room = room_find(presence, institution, (struct hm_str){name, (size_t)len});
    if (!room) return;
    bool some = hm_json_get((struct hm_json){HM_JSON_OBJECT, change->json}, "members", &members);
    set_crowded(room, some && hm_json_count(members) > HM_PRESENCE_MEMBERS);
}

// Of who has no feed open, too: so it is found by the principals, not by the seats.
void hm_presence_list(struct hm_presence *presence, const struct hm_session *session, struct hm_buf *out) {
    struct hm_str name;
    size_t at = 0, taken = 0;
    uint64_t mark = ++presence->mark;
    hm_buf_text(out, "{\"online\":[");
    while (counts(session) && next_membership(session->principals, &at, &taken, &name)) {
        const struct room *room = room_find(presence, session->institution, name);
        for (size_t i = 0; room && !room->crowded && i < room->count; i++) {
            struct hm_present *p = room->places[i].who;
            if (!p->shown || p->mark == mark || strcmp(p->person, session->person) == 0) continue;
            p->mark = mark;
            if (out->data[out->len - 1] != '[') hm_buf_char(out, ',');
            hm_json_put_str(out, hm_str_of(p->person));
        }
    }
    hm_buf_text(out, "]");
    hm_json_member_raw(out, "visible", session->invisible ? HM_LIT("false") : HM_LIT("true"));
    hm_buf_char(out, '}');
}

// ---- the whole ----------------------------------------------------------------------------------

struct hm_presence *hm_presence_new(struct ev_loop *loop, const struct hm_presence_ops *ops,
                                    unsigned grace_ms) {
    struct hm_presence *presence = hm_alloc(sizeof *presence);
    presence->loop = loop;
    presence->ops = *ops;
    presence->grace = grace_ms / 1000.;
    return presence;
}

void hm_presence_free(struct hm_presence *presence) {
    struct hm_present *p, *next;
    if (!presence) return;
    HASH_ITER(hh, presence->persons, p, next) {
        p->shown = false; // nobody is left to be told
        leave_for_good(p);
    }
    free(presence);
}

const struct hm_presence_counts *hm_presence_counts(const struct hm_presence *presence) {
    return &presence->counts;
}
