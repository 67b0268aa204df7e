// store: records, as a plugin reads and writes them. Reads go to the snapshot with the call's own writes over
// it (tx.h); writes are checked against the declared schema here and become intents. Scans that a script
// leaves early are closed by the for loop (a closing value), or at the end of the call.
#include "script/frames.h"
#include "script/host.h"
#include "script/lua_json.h"
#include <lauxlib.h>
#include <stdio.h>

static const char scan_meta[] = "hamroh.scan";

// ---- records as tables -------------------------------------------------------------------------

static void push_packed(lua_State *L, struct hm_str packed) {
    struct hm_str item;
    lua_Integer n = 0;
    lua_newtable(L);
    hm_lua_mark_array(L, -1);
    while (hm_packed_next(&packed, &item)) {
        hm_push_str(L, item);
        lua_rawseti(L, -2, ++n);
    }
}

struct hm_str hm_check_packed(lua_State *L, int index, unsigned which, const char *what) {
    struct hm_buf *out = hm_scratch(hm_host_of(L), which);
    index = lua_absindex(L, index);
    if (lua_isnil(L, index)) return (struct hm_str){0};
    if (!lua_istable(L, index)) luaL_error(L, "%s: must be a list", what);
    lua_Integer n = (lua_Integer)lua_rawlen(L, index);
    for (lua_Integer i = 1; i <= n; i++) {
        struct hm_str item = {0};
        if (lua_rawgeti(L, index, i) == LUA_TSTRING) item.ptr = lua_tolstring(L, -1, &item.len);
        if (!item.len || item.len > 1000)
            luaL_error(L, "%s: element %d is not a principal such as \"role:coordinator\"", what, (int)i);
        hm_packed_add(out, item);
        lua_pop(L, 1);
    }
    return hm_buf_view(out);
}

static void push_sealed_mark(lua_State *L) {
    lua_createtable(L, 0, 1);
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "sealed");
}

// What this call wrote itself lies there in clear; it is read as any other.
static void hide_sealed(lua_State *L, const struct hm_type *type, int data) {
    for (unsigned i = 0; type && i < type->sealed_count; i++) {
        if (lua_getfield(L, data, type->sealed[i]) != LUA_TNIL) {
            push_sealed_mark(L);
            lua_setfield(L, data, type->sealed[i]);
        }
        lua_pop(L, 1);
    }
}

void hm_record_push(lua_State *L, const struct hm_view *view) {
    struct hm_host *host = hm_host_of(L);
    const struct hm_record *r = &view->record;
    luaL_checkstack(L, 8, NULL);
    lua_createtable(L, 0, 9);
    int record = lua_gettop(L);
    hm_push_str(L, r->type);
    lua_setfield(L, record, "type");
    hm_push_str(L, r->id);
    lua_setfield(L, record, "id");
    lua_pushinteger(L, (lua_Integer)r->version);
    lua_setfield(L, record, "version");
    lua_pushinteger(L, (lua_Integer)r->created_ms);
    lua_setfield(L, record, "created");
    lua_pushinteger(L, (lua_Integer)r->updated_ms);
    lua_setfield(L, record, "updated");
    if (r->by.len) {
        hm_push_str(L, r->by);
        lua_setfield(L, record, "by");
    }
    push_packed(L, r->audience);
    lua_setfield(L, record, "audience");
    push_packed(L, r->members);
    lua_setfield(L, record, "members");
    hm_lua_push_json(L, (struct hm_json){HM_JSON_OBJECT, r->data});
    if (view->own) hide_sealed(L, hm_types_find(host->types, r->type), lua_gettop(L));
    lua_setfield(L, record, "data");
}

// ---- arguments ---------------------------------------------------------------------------------

// A type that plugins may see. Pushes nothing.
static const struct hm_type *check_type(lua_State *L, int index, bool for_writing) {
    struct hm_host *host = hm_host_of(L);
    struct hm_str name = hm_check_str(L, index);
    hm_check_in_call(L, "store");
    const struct hm_type *type = hm_types_find(host->types, name);
    if (host->call.upgrading) luaL_error(L, "the upgrade of a record sees the data of that record only");
    if (!type || type->hidden) luaL_error(L, "there is no record type '%s'", name.ptr);
    if (for_writing && type->core) luaL_error(L, "records of type '%s' are the core's own", name.ptr);
    if (for_writing && !host->call.may_write)
        luaL_error(
            L, "this method may not write: it does not declare writes=true, or is the long part of a job");
    return type;
}

static struct hm_str check_id(lua_State *L, int index) {
    struct hm_str id = hm_check_str(L, index);
    if (!hm_id_valid(id)) luaL_error(L, "'%s' cannot be the id of a record", id.ptr);
    return id;
}

// Pushes the declaration of the type: {key=, fields=, …}.
static void push_declared(lua_State *L, const struct hm_type *type) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_records);
    if (lua_getfield(L, -1, type->name) != LUA_TTABLE)
        luaL_error(L, "record type '%s' is not declared", type->name);
    lua_remove(L, -2);
}

// Checks the data at index by the declared schema, as JSON into scratch 0.
static struct hm_str check_data(lua_State *L, const struct hm_type *type, int index) {
    struct hm_host *host = hm_host_of(L);
    char prefix[HM_NAME_MAX + 1];
    index = lua_absindex(L, index);
    luaL_checktype(L, index, LUA_TTABLE);
    push_declared(L, type);
    if (lua_getfield(L, -1, "fields") == LUA_TTABLE) {
        lua_getfield(L, -2, "open");
        snprintf(prefix, sizeof prefix, "%s", type->name);
        struct hm_schema_options options = {prefix, lua_toboolean(L, -1) != 0, type->sealed_count > 0, false};
        if (!hm_schema_check(L, -2, index, &options, &host->faults)) hm_raise_faults(L, &host->faults);
        lua_pop(L, 1);
    }
    lua_pop(L, 2);
    return hm_check_json(L, index, 0, type->name).raw;
}

static void get_or_raise(lua_State *L, struct hm_str type, struct hm_str id, struct hm_view *view) {
    struct hm_error err = {0};
    if (!hm_tx_get(hm_host_of(L)->tx, type, id, view, &err)) hm_raise_error(L, &err);
}

// ---- reading -----------------------------------------------------------------------------------

static int store_get(lua_State *L) {
    struct hm_host *host = hm_host_of(L);
    const struct hm_type *type = check_type(L, 1, false);
    struct hm_error err = {0};
    struct hm_view view;
    if (lua_isnoneornil(L, 2)) return 0;
    if (!hm_tx_get(host->tx, hm_str_of(type->name), check_id(L, 2), &view, &err)) {
        if (err.code != HM_NOT_FOUND) hm_raise_error(L, &err);
        lua_pushnil(L);
        return 1;
    }
    hm_record_push(L, &view);
    return 1;
}

// What a walk was asked for; the scan itself belongs to the transaction.
struct walk {
    struct hm_tx_scan *scan;
    lua_Integer left; // records that may still be given, -1: all
    uint64_t serial;  // of the transaction, which may have ended when a script kept the walk
};

static void close_walk(lua_State *L, struct walk *w) {
    if (w->scan && w->serial == hm_tx_serial(hm_host_of(L)->tx)) hm_tx_scan_end(w->scan);
    w->scan = NULL;
}

static int walk_end(lua_State *L) {
    close_walk(L, luaL_checkudata(L, 1, scan_meta));
    return 0;
}

static struct walk *push_walk(lua_State *L) {
    struct walk *w = lua_newuserdatauv(L, sizeof *w, 0);
    *w = (struct walk){NULL, -1, hm_tx_serial(hm_host_of(L)->tx)};
    if (luaL_newmetatable(L, scan_meta)) {
        lua_pushcfunction(L, walk_end);
        lua_setfield(L, -2, "__close");
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
    return w;
}

static struct hm_json option_json(lua_State *L, int options, const char *name, unsigned which) {
    struct hm_json value = {0};
    if (lua_getfield(L, options, name) != LUA_TNIL) value = hm_check_json(L, -1, which, name);
    lua_pop(L, 1);
    return value;
}

// equals: a list of leading values, or one value alone. Holes end it: {id, nil} asks for id only.
static struct hm_json equals_json(lua_State *L, int options) {
    struct hm_json value = {HM_JSON_ARRAY, HM_LIT("[]")};
    if (lua_getfield(L, options, "equals") == LUA_TNIL) {
        lua_pop(L, 1);
        return value;
    }
    lua_newtable(L);
    hm_lua_mark_array(L, -1);
    if (lua_istable(L, -2)) {
        for (lua_Integer i = 1; lua_rawgeti(L, -2, i) != LUA_TNIL; i++)
            lua_rawseti(L, -2, i);
        lua_pop(L, 1);
    } else {
        lua_pushvalue(L, -2);
        lua_rawseti(L, -2, 1);
    }
    value = hm_check_json(L, -1, 1, "equals");
    lua_pop(L, 2);
    return value;
}

static void check_options(lua_State *L, int options) {
    static const char *const known[] = {"index", "equals", "from", "to", "order", "limit", "cursor"};
    lua_pushnil(L);
    while (lua_next(L, options)) {
        bool found = false;
        lua_pop(L, 1);
        for (size_t i = 0; i < sizeof known / sizeof *known && lua_type(L, -1) == LUA_TSTRING; i++)
            found = found || strcmp(lua_tostring(L, -1), known[i]) == 0;
        if (!found)
            luaL_error(
                L,
                "option '%s' is not known: index, equals, from, to, order, limit are (of store.page: cursor)",
                luaL_tolstring(L, -1, NULL));
    }
}

// A cursor is the database key of the last record given, each byte as two letters from "a" to "p".
static struct hm_str check_cursor(lua_State *L, int options) {
    struct hm_buf *out = hm_scratch(hm_host_of(L), 4);
    if (lua_getfield(L, options, "cursor") != LUA_TNIL) {
        struct hm_str text = hm_check_str(L, -1);
        for (size_t i = 0; i < text.len; i += 2) {
            int high = text.ptr[i] - 'a', low = i + 1 < text.len ? text.ptr[i + 1] - 'a' : -1;
            if (text.len > 2000 || high < 0 || high > 15 || low < 0 || low > 15)
                luaL_error(L, "cursor: is none that store.page has given");
            hm_buf_char(out, (char)(high << 4 | low));
        }
    }
    lua_pop(L, 1);
    return hm_buf_view(out);
}

// Begins a walk over what (type, options) at 1 and 2 ask for. The userdata is left on the top.
static struct walk *begin_walk(lua_State *L, bool points) {
    struct hm_host *host = hm_host_of(L);
    struct hm_error err = {0};
    struct hm_tx_range range = {
        .type = check_type(L, 1, false), .points = points, .equals = {HM_JSON_ARRAY, HM_LIT("[]")}};
    lua_Integer limit = -1;
    if (!lua_isnoneornil(L, 2)) {
        luaL_checktype(L, 2, LUA_TTABLE);
        check_options(L, 2);
        if (lua_getfield(L, 2, "index") != LUA_TNIL) {
            range.index = hm_type_index(range.type, hm_check_str(L, -1));
            if (!range.index) luaL_error(L, "%s has no index '%s'", range.type->name, lua_tostring(L, -1));
        }
        lua_getfield(L, 2, "order");
        const char *order = luaL_optstring(L, -1, "asc");
        range.descending = strcmp(order, "desc") == 0;
        if (!range.descending && strcmp(order, "asc") != 0) luaL_error(L, "order: \"asc\" or \"desc\"");
        lua_getfield(L, 2, "limit");
        if (!lua_isnil(L, -1)) limit = luaL_checkinteger(L, -1);
        lua_pop(L, 3);
        range.equals = equals_json(L, 2);
        range.from = option_json(L, 2, "from", 2);
        range.to = option_json(L, 2, "to", 3);
        range.after = check_cursor(L, 2);
    }
    struct walk *w = push_walk(L);
    w->left = limit < 0 ? -1 : limit;
    if (!hm_tx_scan_begin(host->tx, &range, &w->scan, &err))
        luaL_error(L, "%s: %s", range.type->name, err.message);
    return w;
}

static bool walk_next(lua_State *L, struct walk *w, struct hm_view *view) {
    hm_sandbox_check(L);
    if (w->serial != hm_tx_serial(hm_host_of(L)->tx)) w->scan = NULL;
    if (!w->scan || w->left == 0 || !hm_tx_scan_next(w->scan, view)) {
        close_walk(L, w);
        return false;
    }
    if (w->left > 0) w->left--;
    return true;
}

static int each_step(lua_State *L) {
    struct hm_view view;
    if (!walk_next(L, lua_touserdata(L, lua_upvalueindex(1)), &view)) return 0;
    hm_record_push(L, &view);
    return 1;
}

static int store_each(lua_State *L) {
    begin_walk(L, true);
    int walk = lua_gettop(L);
    lua_pushvalue(L, walk);
    lua_pushcclosure(L, each_step, 1);
    lua_pushnil(L);
    lua_pushnil(L);
    lua_pushvalue(L, walk);
    return 4; // function, no state, no first value, and what is closed when the loop ends
}

static int store_first(lua_State *L) {
    struct hm_view view;
    lua_settop(L, 2);
    struct walk *w = begin_walk(L, true);
    bool found = walk_next(L, w, &view);
    if (found) {
        hm_record_push(L, &view);
    } else {
        lua_pushnil(L);
    }
    close_walk(L, w);
    return 1;
}

static int store_count(lua_State *L) {
    struct hm_view view;
    lua_Integer n = 0;
    lua_settop(L, 2);
    struct walk *w = begin_walk(L, false);
    while (walk_next(L, w, &view))
        n++;
    lua_pushinteger(L, n);
    return 1;
}

static int store_list(lua_State *L) {
    struct hm_view view;
    lua_Integer n = 0;
    lua_settop(L, 2);
    struct walk *w = begin_walk(L, true);
    lua_newtable(L);
    hm_lua_mark_array(L, -1);
    int list = lua_gettop(L);
    while (walk_next(L, w, &view)) {
        hm_record_push(L, &view);
        lua_rawseti(L, list, ++n);
    }
    return 1;
}

// A page of such a list, and where the next one goes on.
static int store_page(lua_State *L) {
    struct hm_view view;
    lua_Integer n = 0;
    lua_settop(L, 2);
    struct walk *w = begin_walk(L, true);
    lua_Integer most = w->left < 0 ? 50 : w->left > 500 ? 500 : w->left;
    w->left = -1;
    lua_createtable(L, 0, 2);
    lua_newtable(L);
    hm_lua_mark_array(L, -1);
    int list = lua_gettop(L);
    while (n < most && walk_next(L, w, &view)) {
        hm_record_push(L, &view);
        lua_rawseti(L, list, ++n);
    }
    if (n == most && n > 0 && w->scan) {
        struct hm_buf *text = hm_scratch(hm_host_of(L), 5);
        struct hm_str key = hm_tx_scan_key(w->scan);
        for (size_t i = 0; i < key.len; i++) {
            hm_buf_char(text, (char)('a' + ((unsigned char)key.ptr[i] >> 4)));
            hm_buf_char(text, (char)('a' + ((unsigned char)key.ptr[i] & 15u)));
        }
        if (walk_next(L, w, &view)) { // there is more
            hm_push_str(L, hm_buf_view(text));
            lua_setfield(L, list - 1, "cursor");
        }
    }
    close_walk(L, w);
    lua_setfield(L, list - 1, "items");
    return 1;
}

// ---- writing -----------------------------------------------------------------------------------

// Where the new data has {sealed=true} for a field that this call wrote before, the clear value is put back,
// so that it is not lost; the store does the same with what it has.
static void keep_sealed(lua_State *L, const struct hm_type *type, int data, const struct hm_view *before) {
    struct hm_json old, value;
    if (!before->own || !type->sealed_count || !hm_json_parse(before->record.data, &old, NULL)) return;
    for (unsigned i = 0; i < type->sealed_count; i++) {
        bool marked = false;
        if (lua_getfield(L, data, type->sealed[i]) == LUA_TTABLE) {
            lua_getfield(L, -1, "sealed");
            marked = lua_isboolean(L, -1) && lua_toboolean(L, -1);
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
        if (!marked || !hm_json_get(old, type->sealed[i], &value)) continue;
        hm_lua_push_json(L, value);
        lua_setfield(L, data, type->sealed[i]);
    }
}

// Defaults and sealed values are put into a table of our own, not into the script's. In place, at index.
static void own_data(lua_State *L, int index) {
    lua_newtable(L);
    if (hm_lua_is_array_marked(L, index)) hm_lua_mark_array(L, -1);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
    lua_replace(L, index);
}

static void write_record(lua_State *L, struct hm_write_args *args) {
    struct hm_host *host = hm_host_of(L);
    struct hm_error err = {0};
    struct hm_view view;
    args->by = hm_str_of(host->call.who.person);
    args->now_ms = host->call.now_ms;
    if (!hm_tx_put(host->tx, args, &err)) {
        if (err.code == HM_PARAMS) luaL_error(L, "%s", err.message);
        hm_raise_error(L, &err);
    }
    get_or_raise(L, args->type, args->id, &view);
    hm_record_push(L, &view);
}

static int store_put(lua_State *L) {
    struct hm_host *host = hm_host_of(L);
    char fresh[37];
    lua_settop(L, 2);
    const struct hm_type *type = check_type(L, 1, true);
    luaL_checktype(L, 2, LUA_TTABLE);
    struct hm_write_args args = {.type = hm_str_of(type->name), .create = true};
    if (lua_getfield(L, 2, "id") == LUA_TNIL) {
        push_declared(L, type);
        lua_getfield(L, -1, "key");
        if (lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), "natural") == 0)
            return luaL_error(L, "%s has a natural key: an id is needed", type->name);
        lua_settop(L, 3);
        uint8_t bytes[10];
        hm_random_bytes(&host->call.random, bytes, sizeof bytes);
        hm_uuid7_from(host->call.now_ms, bytes, fresh);
        args.id = hm_str_of(fresh);
    } else {
        args.id = check_id(L, 3);
    }
    if (lua_getfield(L, 2, "data") != LUA_TTABLE)
        return luaL_error(L, "%s: data must be a table", type->name);
    own_data(L, 4);
    args.data = check_data(L, type, 4);
    lua_getfield(L, 2, "audience");
    args.audience = hm_check_packed(L, -1, 1, "audience");
    lua_getfield(L, 2, "members");
    args.members = hm_check_packed(L, -1, 2, "members");
    write_record(L, &args);
    return 1;
}

static int store_set(lua_State *L) {
    lua_settop(L, 1);
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getfield(L, 1, "type");
    const struct hm_type *type = check_type(L, 2, true);
    lua_getfield(L, 1, "id");
    struct hm_view before;
    struct hm_write_args args = {.type = hm_str_of(type->name), .id = check_id(L, 3)};
    get_or_raise(L, args.type, args.id, &before);
    lua_getfield(L, 1, "version");
    if (!lua_isinteger(L, -1) || (uint64_t)lua_tointeger(L, -1) != before.record.version) {
        struct hm_error err = {.code = HM_CONFLICT, .message = "version"};
        hm_raise_error(L, &err);
    }
    if (lua_getfield(L, 1, "data") != LUA_TTABLE)
        return luaL_error(L, "%s: data must be a table", type->name);
    own_data(L, 5);
    keep_sealed(L, type, 5, &before);
    args.data = check_data(L, type, 5);
    lua_getfield(L, 1, "audience");
    args.audience = hm_check_packed(L, -1, 1, "audience");
    lua_getfield(L, 1, "members");
    args.members = hm_check_packed(L, -1, 2, "members");
    write_record(L, &args);
    return 1;
}

// Pushes the fields of an object's shape in the table `fields` (0: none) under the name at the top, or nil.
static void push_inner(lua_State *L, int fields) {
    if (fields) {
        lua_pushvalue(L, -1);
        if (lua_rawget(L, fields) == LUA_TTABLE && lua_getfield(L, -1, "fields") == LUA_TTABLE) {
            lua_remove(L, -2);
            return;
        }
        lua_settop(L, lua_gettop(L) - (lua_istable(L, -2) ? 2 : 1));
    }
    lua_pushnil(L);
}

// Lays the fields in the table `changes` over the table `data`; null takes one away. A field that is declared
// as an object is changed inside: a part that is not given stays, instead of falling back to its default.
static void merge_fields(lua_State *L, int data, int changes, int fields) {
    luaL_checkstack(L, 10, "nested too deep");
    lua_pushnil(L);
    while (lua_next(L, changes)) {
        int change = lua_gettop(L);
        lua_pushvalue(L, change - 1);
        push_inner(L, fields);
        lua_pushvalue(L, change - 1);
        bool inside = lua_rawget(L, data) == LUA_TTABLE && lua_istable(L, change) &&
                      lua_istable(L, change + 2) && !hm_lua_is_array_marked(L, change + 3);
        if (inside) {
            merge_fields(L, change + 3, change, change + 2);
        } else {
            lua_pushvalue(L, change - 1);
            if (hm_lua_is_null(L, change)) {
                lua_pushnil(L);
            } else {
                lua_pushvalue(L, change);
            }
            lua_rawset(L, data);
        }
        lua_settop(L, change - 1);
    }
}

static int store_patch(lua_State *L) {
    lua_settop(L, 4);
    const struct hm_type *type = check_type(L, 1, true);
    struct hm_view before;
    struct hm_write_args args = {.type = hm_str_of(type->name), .id = check_id(L, 2)};
    luaL_checktype(L, 3, LUA_TTABLE);
    get_or_raise(L, args.type, args.id, &before);
    hm_lua_push_json(
        L, (struct hm_json){HM_JSON_OBJECT, before.record.data}); // with its own sealed values in clear
    push_declared(L, type);
    lua_getfield(L, -1, "fields");
    merge_fields(L, 5, 3, lua_istable(L, -1) ? lua_gettop(L) : 0);
    lua_settop(L, 5);
    keep_sealed(L, type, 5, &before); // a change may carry the mark back that it read
    args.audience = before.record.audience;
    args.members = before.record.members;
    args.data = check_data(L, type, 5);
    if (!lua_isnil(L, 4)) {
        luaL_checktype(L, 4, LUA_TTABLE);
        if (lua_getfield(L, 4, "audience") != LUA_TNIL) args.audience = hm_check_packed(L, -1, 1, "audience");
        if (lua_getfield(L, 4, "members") != LUA_TNIL) args.members = hm_check_packed(L, -1, 2, "members");
    }
    write_record(L, &args);
    return 1;
}

static int store_delete(lua_State *L) {
    struct hm_error err = {0};
    const struct hm_type *type = check_type(L, 1, true);
    if (!hm_tx_delete(hm_host_of(L)->tx, hm_str_of(type->name), check_id(L, 2), &err))
        hm_raise_error(L, &err);
    return 0;
}

// ---- sealed fields -----------------------------------------------------------------------------

// Asks the server, which writes down who looked and why.
static void ask_unseal(lua_State *L, struct hm_host *host, struct hm_str type, struct hm_str id,
                       struct hm_str field, struct hm_str why) {
    struct hm_error err = {0};
    struct hm_frame_in frame;
    struct hm_json value;
    struct hm_buf *out = hm_channel_begin(host->channel, HM_F_UNSEAL, host->call.number);
    hm_put_str(out, type);
    hm_put_str(out, id);
    hm_put_str(out, field);
    hm_put_str(out, why);
    hm_channel_end(host->channel);
    if (!hm_channel_wait_for(host->channel, HM_F_UNSEALED, host->call.number, &frame, &err))
        hm_raise_error(L, &err);
    uint8_t said = hm_get_u8(&frame.rest);
    struct hm_str text = hm_get_str(&frame.rest);
    struct hm_buf *copy = hm_scratch(host, 0);
    hm_buf_str(copy, text);
    if (frame.rest.bad) luaL_error(L, "store.unseal: the answer cannot be read");
    if (said != HM_UNSEALED_OK) {
        err.code = said == HM_UNSEALED_ABSENT ? HM_NOT_FOUND : HM_UNAVAILABLE;
        snprintf(err.message, sizeof err.message, "%s", copy->data);
        hm_raise_error(L, &err);
    }
    if (!hm_json_parse(hm_buf_view(copy), &value, &err)) hm_raise_error(L, &err);
    hm_lua_push_json(L, value);
}

static int store_unseal(lua_State *L) {
    struct hm_host *host = hm_host_of(L);
    struct hm_view view;
    struct hm_json data, value;
    bool sealed = false;
    luaL_checktype(L, 1, LUA_TTABLE);
    struct hm_str field = hm_check_str(L, 2), why = hm_check_str(L, 3);
    luaL_argcheck(L, why.len > 0, 3, "say why");
    lua_settop(L, 3);
    lua_getfield(L, 1, "type");
    const struct hm_type *type = check_type(L, 4, false);
    lua_getfield(L, 1, "id");
    struct hm_str id = check_id(L, 5);
    for (unsigned i = 0; i < type->sealed_count; i++)
        sealed = sealed || hm_str_eq(field, hm_str_of(type->sealed[i]));
    if (!sealed) return luaL_error(L, "%s: the field '%s' is not sealed", type->name, field.ptr);
    get_or_raise(L, hm_str_of(type->name), id, &view);
    if (!hm_json_parse(view.record.data, &data, NULL) || !hm_json_get(data, field.ptr, &value)) return 0;
    bool still_sealed = false;
    struct hm_json mark;
    if (hm_json_get(value, "sealed", &mark)) hm_json_bool(mark, &still_sealed);
    if (view.own && !still_sealed) { // this call wrote it
        hm_lua_push_json(L, value);
    } else if (!host->channel || host->call.testing) {
        return luaL_error(L, "store.unseal: nothing can be unsealed here");
    } else {
        ask_unseal(L, host, hm_str_of(type->name), id, field, why);
    }
    return 1;
}

static int store_array(lua_State *L) {
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    if (lua_getmetatable(L, 1)) {
        lua_pop(L, 1);
        if (!hm_lua_is_array_marked(L, 1)) return luaL_error(L, "store.array: the table has a metatable");
        return 1;
    }
    hm_lua_mark_array(L, 1);
    return 1;
}

#define WALK_OPTIONS "{index: string?, equals: any, from: any, to: any, order: string?, limit: integer?}?"
static const struct hm_lua_fn store_fns[] = {
    {"get", "type: string, id: string? -> Record?", "One record, or nil.", store_get, NULL},
    {"put",
     "type: string, record: {id: string?, data: table, audience: string[]?, members: string[]?} -> Record",
     "Creates a record; a conflict when its id is there already. Its data is checked against the declared "
     "fields.",
     store_put, NULL,
     "conflict `exists`; wrong params, all of them, as `errors`; not in a method without writes=true"},
    {"set", "record: Record -> Record",
     "Replaces a record; a conflict when it is no longer the version that was read.", store_set, NULL,
     "conflict `version`; not found; wrong params"},
    {"patch",
     "type: string, id: string, changes: table, more: {audience: string[]?, members: string[]?}? -> Record",
     "Changes some fields of a record's data, also inside of a field that is declared as object{}; "
     "store.null "
     "takes a field away.",
     store_patch, NULL, "not found; wrong params"},
    {"delete", "type: string, id: string", "Removes a record.", store_delete, NULL, "not found"},
    {"each", "type: string, options: " WALK_OPTIONS " -> fun(): Record?",
     "Walks the records of a type, by id or in the order of an index, the call's own writes among them.",
     store_each, NULL},
    {"first", "type: string, options: " WALK_OPTIONS " -> Record?", "The first of such a walk, or nil.",
     store_first, NULL},
    {"count", "type: string, options: " WALK_OPTIONS " -> integer", "How many there are.", store_count, NULL},
    {"list", "type: string, options: " WALK_OPTIONS " -> Record[]", "All of them, as a list.", store_list,
     NULL},
    {"page",
     "type: string, options: {index: string?, equals: any, from: any, to: any, order: string?, limit: "
     "integer?, cursor: string?}? -> {items: Record[], cursor: string?}",
     "A part of that list, 50 unless limit says otherwise (500 at most), and the cursor with which the next "
     "part is "
     "asked for; without a cursor it was the last. A cursor holds the id and the index values of the last "
     "record: it is "
     "for those who may see that.",
     store_page, NULL, "a cursor of another list"},
    {"unseal", "record: Record, field: string, why: string -> any",
     "The value of a sealed field. Who looked, at whose, and why is written down.", store_unseal,
     "the caller's: to read the record", "not found; unavailable when the person has been erased"},
    {"array", "list: table? -> table", "Marks a table, so that it is written as [] when it is empty.",
     store_array, NULL},
    {"null", "lightuserdata", "JSON's null, in values and for store.patch.", NULL, NULL},
    {0}};
const struct hm_lua_module hm_module_store = {"store", "Records of the institution.", store_fns, false};
