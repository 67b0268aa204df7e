// What the plugins declare, as the server needs it: types, methods with JSON Schema, reactions, and the
// answers of "$plugins". Everything here runs protected; the buffers belong to the host. Names are gone
// through in order, so that the same sources always give the same text.
#include "script/host.h"
#include "script/lua_json.h"
#include <lauxlib.h>
#include <stdio.h>

static void comma(struct hm_buf *out) {
    char last = out->len ? out->data[out->len - 1] : '[';
    if (last != '[' && last != '{') hm_buf_char(out, ',');
}

// A member of the table at index, as JSON, when it is there.
static void put_field(lua_State *L, int table, const char *field, const char *name, struct hm_buf *out) {
    struct hm_error err = {0};
    lua_pushstring(L, field);
    if (lua_rawget(L, table) != LUA_TNIL) {
        hm_json_key(out, name);
        if (!hm_lua_to_json_opt(L, -1, true, 1u << 20, out, &err))
            luaL_error(L, "%s: %s", field, err.message);
    }
    lua_pop(L, 1);
}

static bool flag_of(lua_State *L, int table, const char *field) {
    lua_pushstring(L, field);
    lua_rawget(L, table);
    bool on = lua_toboolean(L, -1) != 0;
    lua_pop(L, 1);
    return on;
}

static const struct hm_loaded *owner_of(lua_State *L, const char *name) {
    struct hm_host *host = hm_host_of(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_owners);
    lua_getfield(L, -1, name);
    lua_Integer i = lua_tointeger(L, -1);
    lua_pop(L, 2);
    return &host->loaded[i];
}

// ---- types -------------------------------------------------------------------------------------

static void put_indexes(lua_State *L, int record, struct hm_buf *out) {
    lua_getfield(L, record, "indexes");
    hm_json_key(out, "indexes");
    hm_buf_char(out, '[');
    if (lua_istable(L, -1)) {
        int indexes = lua_gettop(L);
        hm_push_names(L, indexes);
        lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
        for (lua_Integer i = 1; i <= n; i++) {
            lua_rawgeti(L, indexes + 1, i);
            comma(out);
            hm_buf_char(out, '{');
            hm_json_member_str(out, "name", hm_check_str(L, -1));
            lua_rawget(L, indexes);
            int index = lua_gettop(L);
            put_field(L, index, "fields", "fields", out);
            hm_json_member_raw(out, "unique", flag_of(L, index, "unique") ? HM_LIT("true") : HM_LIT("false"));
            hm_json_member_raw(out, "multi", flag_of(L, index, "multi") ? HM_LIT("true") : HM_LIT("false"));
            hm_buf_char(out, '}');
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
    hm_buf_char(out, ']');
    lua_pop(L, 1);
}

void hm_types_build(lua_State *L, struct hm_buf *out) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_records);
    int records = lua_gettop(L);
    hm_push_names(L, records);
    lua_Integer n = (lua_Integer)lua_rawlen(L, records + 1);
    hm_buf_char(out, '[');
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, records + 1, i);
        struct hm_str name = hm_check_str(L, -1);
        comma(out);
        hm_buf_char(out, '{');
        hm_json_member_str(out, "name", name);
        hm_json_member_str(out, "plugin", hm_str_of(owner_of(L, name.ptr)->id));
        lua_rawget(L, records);
        int record = lua_gettop(L);
        put_field(L, record, "version", "version", out);
        put_field(L, record, "key", "key", out);
        put_field(L, record, "about", "about", out);
        put_field(L, record, "sealed", "sealed", out);
        put_field(L, record, "title", "title", out);
        put_indexes(L, record, out);
        hm_json_key(out, "schema");
        if (lua_getfield(L, record, "fields") == LUA_TTABLE) {
            hm_schema_fields_json(L, -1, flag_of(L, record, "open"), out);
        } else {
            hm_buf_text(out, "{}");
        }
        hm_buf_char(out, '}');
        lua_settop(L, records + 1);
    }
    hm_buf_char(out, ']');
    lua_settop(L, records - 1);
}

// ---- methods -----------------------------------------------------------------------------------

static void put_access(lua_State *L, int method, struct hm_buf *out) {
    if (lua_getfield(L, method, "access") == LUA_TSTRING) {
        hm_json_member_str(out, "access", hm_check_str(L, -1));
        hm_json_member_raw(out, "roles", HM_LIT("[]"));
    } else {
        hm_json_member_str(out, "access", HM_LIT("role"));
        put_field(L, method, "access", "roles", out);
    }
    lua_pop(L, 1);
}

static void put_method(lua_State *L, struct hm_str name, int method, struct hm_buf *out) {
    hm_buf_char(out, '{');
    hm_json_member_str(out, "name", name);
    hm_json_member_str(out, "plugin", hm_str_of(owner_of(L, name.ptr)->id));
    put_field(L, method, "summary", "summary", out);
    hm_json_key(out, "params");
    if (lua_getfield(L, method, "params") == LUA_TTABLE) {
        hm_schema_fields_json(L, -1, flag_of(L, method, "open_params"), out);
    } else {
        hm_buf_text(out, "{}");
    }
    lua_pop(L, 1);
    hm_json_key(out, "result");
    if (lua_getfield(L, method, "result") == LUA_TTABLE) {
        hm_schema_json(L, -1, out);
    } else {
        hm_buf_text(out, "{}");
    }
    lua_pop(L, 1);
    put_access(L, method, out);
    hm_json_member_raw(out, "job", flag_of(L, method, "job") ? HM_LIT("true") : HM_LIT("false"));
    hm_json_member_raw(out, "writes",
                       flag_of(L, method, "writes") || flag_of(L, method, "job") ? HM_LIT("true")
                                                                                 : HM_LIT("false"));
    hm_buf_char(out, '}');
}

static void put_methods(lua_State *L, struct hm_buf *out) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_methods);
    int methods = lua_gettop(L);
    hm_push_names(L, methods);
    lua_Integer n = (lua_Integer)lua_rawlen(L, methods + 1);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, methods + 1, i);
        struct hm_str name = hm_check_str(L, -1);
        lua_pushvalue(L, -1);
        lua_rawget(L, methods);
        comma(out);
        put_method(L, name, lua_gettop(L), out);
        lua_settop(L, methods + 1);
    }
    lua_settop(L, methods - 1);
}

// ---- plugins -----------------------------------------------------------------------------------

static void push_decl(lua_State *L, size_t i) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_decls);
    lua_rawgeti(L, -1, (lua_Integer)i + 1);
    lua_remove(L, -2);
}

static void put_plugin(lua_State *L, const struct hm_host *host, size_t i, struct hm_buf *out) {
    const struct hm_loaded *p = &host->loaded[i];
    push_decl(L, i);
    hm_json_member_str(out, "kind", hm_str_of(p->source->kind));
    hm_json_member_str(out, "id", hm_str_of(p->id));
    put_field(L, lua_gettop(L), "title", "title", out);
    hm_json_member_str(out, "version", (struct hm_str){p->source->hash, 12});
    hm_json_member_str(out, "layer", hm_str_of(p->source->layer));
    hm_json_member_str(out, "file", hm_str_of(p->source->file));
    hm_json_member_str(out, "hash", hm_str_of(p->source->hash));
    hm_json_member_raw(out, "overrides", p->under >= 0 ? HM_LIT("true") : HM_LIT("false"));
    lua_pop(L, 1);
}

// Members of decl[field] by name, as [{key: name, "plugin": id}, …].
static void put_events(lua_State *L, const struct hm_host *host, const char *field, const char *key,
                       struct hm_buf *out) {
    for (size_t i = 0; i < host->loaded_count; i++) {
        int top = lua_gettop(L);
        if (!host->loaded[i].active) continue;
        push_decl(L, i);
        if (lua_getfield(L, -1, field) == LUA_TTABLE) {
            hm_push_names(L, -1);
            int names = lua_gettop(L);
            lua_Integer n = (lua_Integer)lua_rawlen(L, names);
            for (lua_Integer k = 1; k <= n; k++) {
                lua_rawgeti(L, names, k);
                comma(out);
                hm_buf_char(out, '{');
                hm_json_member_str(out, key, hm_check_str(L, -1));
                hm_json_member_str(out, "plugin", hm_str_of(host->loaded[i].id));
                hm_json_member_str(out, "kind", hm_str_of(host->loaded[i].source->kind));
                lua_rawget(L, names - 1);
                if (lua_istable(L, -1)) { // {run = fn, done = fn, job = true}
                    put_field(L, lua_gettop(L), "job", "job", out);
                    bool done = lua_getfield(L, -1, "done") == LUA_TFUNCTION;
                    hm_json_member_raw(out, "done", done ? HM_LIT("true") : HM_LIT("false"));
                    lua_pop(L, 1);
                }
                hm_buf_char(out, '}');
                lua_pop(L, 1);
            }
        }
        lua_settop(L, top);
    }
}

// Texts that people read must come in all four languages; what is missing is told, not refused.
static void warn_translations(lua_State *L, struct hm_host *host, size_t plugin, int value, const char *path,
                              unsigned depth) {
    static const char *const languages[] = {"uz", "uz-Cyrl", "ru", "en"};
    char here[200];
    unsigned found = 0;
    const char *missing = NULL;
    if (depth > 12 || !lua_istable(L, value)) return;
    luaL_checkstack(L, 8, NULL);
    for (size_t i = 0; i < sizeof languages / sizeof *languages; i++) {
        lua_pushstring(L, languages[i]);
        if (lua_rawget(L, value) == LUA_TSTRING) {
            found++;
        } else {
            missing = languages[i];
        }
        lua_pop(L, 1);
    }
    if (found) {
        snprintf(here, sizeof here, "%s: the text in %s is missing", path, missing ? missing : "");
        const struct hm_source *source = host->loaded[plugin].source;
        if (missing)
            hm_warning(host, host->loaded[plugin].id, source->file, hm_line_of_path(source, here), 0, here);
        return;
    }
    lua_pushnil(L);
    while (lua_next(L, value)) {
        if (lua_istable(L, -1)) {
            if (lua_type(L, -2) == LUA_TSTRING) {
                snprintf(here, sizeof here, "%.80s%s%.80s", path, path[0] ? "." : "", lua_tostring(L, -2));
            } else {
                snprintf(here, sizeof here, "%.150s[%lld]", path, (long long)lua_tointeger(L, -2));
            }
            warn_translations(L, host, plugin, lua_gettop(L), here, depth + 1);
        }
        lua_pop(L, 1);
    }
}

void hm_catalogue_build(lua_State *L) {
    struct hm_host *host = hm_host_of(L);
    struct hm_buf *out = &host->catalogue;
    hm_buf_clear(out);
    hm_buf_text(out, "{\"plugins\":[");
    for (size_t i = 0; i < host->loaded_count; i++) {
        if (!host->loaded[i].active) continue;
        comma(out);
        hm_buf_char(out, '{');
        put_plugin(L, host, i, out);
        hm_buf_char(out, '}');
        push_decl(L, i);
        warn_translations(L, host, i, lua_gettop(L), "", 0);
        lua_pop(L, 1);
    }
    hm_buf_text(out, "],\"types\":");
    hm_types_build(L, out);
    hm_buf_text(out, ",\"methods\":[");
    put_methods(L, out);
    hm_buf_text(out, "],\"reactions\":[");
    put_events(L, host, "on", "event", out);
    hm_buf_text(out, "],\"every\":[");
    put_events(L, host, "every", "cron", out);
    hm_buf_text(out, "],\"warnings\":[");
    hm_buf_str(out, hm_buf_view(&host->warnings));
    hm_buf_text(out, "]}");
}

// All that have the same kind and id, from the lowest layer to the one in force.
static void put_layers(const struct hm_host *host, const struct hm_loaded *active, struct hm_buf *out) {
    hm_json_key(out, "layers");
    hm_buf_char(out, '[');
    for (size_t i = 0; i < host->loaded_count; i++) {
        const struct hm_loaded *p = &host->loaded[i];
        if (strcmp(p->id, active->id) != 0 || strcmp(p->source->kind, active->source->kind) != 0) continue;
        comma(out);
        hm_buf_char(out, '{');
        hm_json_member_str(out, "layer", hm_str_of(p->source->layer));
        hm_json_member_str(out, "version", (struct hm_str){p->source->hash, 12});
        hm_json_member_str(out, "hash", hm_str_of(p->source->hash));
        hm_json_member_str(out, "source", (struct hm_str){p->source->text, p->source->len});
        hm_buf_char(out, '}');
    }
    hm_buf_char(out, ']');
}

// {"items":[{kind,id,title,version,layer,file,hash,overrides, and when one is asked for by id: source,
// shipped?, layers, declaration}]}
void hm_catalogue_plugins(lua_State *L, struct hm_json params, struct hm_buf *out) {
    struct hm_host *host = hm_host_of(L);
    struct hm_error err = {0};
    char kind_text[32] = "", id[HM_NAME_MAX + 1] = "";
    hm_json_get_text(params, "kind", kind_text, sizeof kind_text);
    hm_json_get_text(params, "id", id, sizeof id);
    const char *kind = hm_kind_of(kind_text);
    hm_buf_text(out, "{\"items\":[");
    for (size_t i = 0; i < host->loaded_count; i++) {
        const struct hm_loaded *p = &host->loaded[i];
        if (!p->active || (kind && strcmp(kind, p->source->kind) != 0) || (id[0] && strcmp(id, p->id) != 0))
            continue;
        comma(out);
        hm_buf_char(out, '{');
        put_plugin(L, host, i, out);
        if (id[0]) {
            hm_json_member_str(out, "source", (struct hm_str){p->source->text, p->source->len});
            if (p->under >= 0) {
                const struct hm_source *under = host->loaded[p->under].source;
                hm_json_member_str(out, "shipped", (struct hm_str){under->text, under->len});
            }
            put_layers(host, p, out);
            hm_json_key(out, "declaration");
            push_decl(L, i);
            if (!hm_lua_to_json_opt(L, -1, true, 1u << 20, out, &err)) hm_buf_text(out, "null");
            lua_pop(L, 1);
        }
        hm_buf_char(out, '}');
    }
    hm_buf_text(out, "]}");
}
