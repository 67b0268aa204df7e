// Making a state of Lua from the sources: environments, constructors, declarations, what they declare. What
// always holds: a plugin's chunk sees its own environment only, made from the allow-list and the tables of
// api.c; every problem of every plugin is collected before the host gives up.
#include "script/host.h"
#include "base/cron.h"
#include "script/lua_json.h"
#include <assert.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

#define LOAD_MS 2000   // of computing; all that ships takes some ten
#define FAULTS_MAX 100 // of one declaration that are told
#define LOAD_BYTES (256u << 20)

const char hm_reg_decls, hm_reg_methods, hm_reg_owners, hm_reg_records, hm_reg_kinds, hm_reg_required,
    hm_reg_error, hm_reg_ctx, hm_reg_ctx_now, hm_reg_active;

struct hm_host *hm_host_of(lua_State *L) {
    return hm_sandbox_owner(L);
}

void hm_host_drop(struct hm_host *host) {
    hm_sandbox_close(&host->box);
    hm_types_unref(host->types);
    host->types = NULL;
    free(host->loaded);
    host->loaded = NULL;
    host->loaded_count = 0;
    host->open = false;
    host->calls = 0;
}

void hm_host_free(struct hm_host *host) {
    if (!host) return;
    hm_host_drop(host);
    hm_who_free(&host->call.who);
    hm_who_forget(host);
    hm_tx_free(host->tx);
    hm_sources_free(&host->sources);
    hm_buf_free(&host->catalogue);
    hm_buf_free(&host->warnings);
    hm_buf_free(&host->problems);
    hm_buf_free(&host->out);
    hm_buf_free(&host->trouble.data);
    hm_buf_free(&host->dry_logs);
    for (size_t i = 0; i < sizeof host->scratch / sizeof *host->scratch; i++)
        hm_buf_free(&host->scratch[i]);
    free(host);
}

static void put_entry(struct hm_buf *out, const char *plugin, const char *file, int line, int column,
                      const char *message) {
    if (out->len) hm_buf_char(out, ',');
    hm_buf_char(out, '{');
    hm_json_member_str(out, "plugin", hm_str_of(plugin));
    hm_json_member_str(out, "file", hm_str_of(file));
    hm_json_member_int(out, "line", line);
    if (column) hm_json_member_int(out, "column", column);
    hm_json_member_str(out, "message", hm_str_of(message));
    hm_buf_char(out, '}');
}

void hm_problem(struct hm_host *host, const char *plugin, const char *file, int line, const char *message) {
    put_entry(&host->problems, plugin, file, line, 0, message);
}

// The length of "methods.pair.end.access" at the front of a message, or 0.
static size_t path_length(const char *message) {
    const char *end = strstr(message, ": ");
    size_t len = end ? (size_t)(end - message) : 0;
    return len && len < 160 && !memchr(message, ' ', len) ? len : 0;
}

void hm_problem_of(struct hm_host *host, const struct hm_source *source, const char *plugin, const char *file,
                   int line, const char *message) {
    struct hm_buf *out = &host->problems;
    size_t path = path_length(message);
    put_entry(out, plugin, file, line, 0, message);
    if (strcmp(source->kind, "lib") == 0 || strcmp(source->kind, "host") == 0) return;
    out->len--; // its end comes behind these
    hm_json_member_str(out, "kind", hm_str_of(source->kind));
    hm_json_member_str(out, "id", hm_str_of(plugin));
    hm_json_member_str(out, "layer", hm_str_of(source->layer));
    if (path) hm_json_member_str(out, "path", (struct hm_str){message, path});
    hm_buf_char(out, '}');
}

void hm_warning(struct hm_host *host, const char *plugin, const char *file, int line, int column,
                const char *message) {
    put_entry(&host->warnings, plugin, file, line, column, message);
}

// ---- environments ------------------------------------------------------------------------------

static int unknown_name(lua_State *L) {
    return luaL_error(L, "the name '%s' is not known here",
                      lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?");
}
static int no_globals(lua_State *L) {
    return luaL_error(L, "'%s' would be a global; make it local",
                      lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?");
}
static int call_constructor(lua_State *L) { // text{…}, where text is a module, too
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_replace(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

// The constructors in the table on the top go into env (and the table goes).
static void add_constructors(lua_State *L, int env) {
    int from = lua_gettop(L);
    lua_pushnil(L);
    while (lua_next(L, from)) {
        if (lua_type(L, -2) != LUA_TSTRING || lua_tostring(L, -2)[0] == '_') { // the constructors' own
            lua_pop(L, 1);
            continue;
        }
        lua_pushvalue(L, -2);
        if (lua_rawget(L, env) == LUA_TTABLE) { // [name, constructor, module]
            lua_createtable(L, 0, 2);
            lua_pushvalue(L, -3);
            lua_pushcclosure(L, call_constructor, 1);
            lua_setfield(L, -2, "__call");
            lua_pushboolean(L, 0);
            lua_setfield(L, -2, "__metatable");
            lua_setmetatable(L, -2);
            lua_pop(L, 2);
        } else {
            lua_pop(L, 1);
            lua_pushvalue(L, -2);
            lua_insert(L, -2);
            lua_rawset(L, env);
        }
    }
    lua_pop(L, 1);
}

static void add_module(lua_State *L, int env, const struct hm_lua_module *m, int plugin) {
    bool base = m == &hm_module_base;
    if (!base) lua_newtable(L);
    int to = base ? env : lua_gettop(L);
    for (const struct hm_lua_fn *f = m->fns; f->name; f++) {
        if (!f->fn) continue; // a value or a field, described only
        if (base) {
            lua_pushinteger(L, plugin);
            lua_pushcclosure(L, f->fn, 1);
        } else {
            lua_pushcfunction(L, f->fn);
        }
        lua_setfield(L, to, f->name);
    }
    if (m == &hm_module_store) {
        hm_lua_push_null(L);
        lua_setfield(L, to, "null");
    }
    if (!base) lua_setfield(L, env, m->name);
}

// Pushes a fresh environment. plugin: index in loaded, or -1 for shared modules.
static void push_env(lua_State *L, const char *kind, int plugin) {
    luaL_checkstack(L, 16, NULL);
    lua_newtable(L);
    int env = lua_gettop(L);
    hm_sandbox_library(L);
    for (size_t i = 0; hm_modules[i]; i++)
        if (!hm_modules[i]->method) add_module(L, env, hm_modules[i], plugin);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_kinds);
    if (lua_getfield(L, -1, "schema") == LUA_TTABLE) {
        add_constructors(L, env);
    } else {
        lua_pop(L, 1);
    }
    if (strcmp(kind, "lib") != 0 && lua_getfield(L, -1, kind) == LUA_TTABLE) add_constructors(L, env);
    lua_settop(L, env);
    lua_createtable(L, 0, 3);
    lua_pushcfunction(L, unknown_name);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, no_globals);
    lua_setfield(L, -2, "__newindex");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, env);
}

void hm_env_push(lua_State *L, const char *kind) {
    push_env(L, kind, -1);
}

// Pushes the value that the file returns.
static void run_source(lua_State *L, const struct hm_source *source, int plugin) {
    char chunk[sizeof source->file + 1];
    snprintf(chunk, sizeof chunk, "@%s", source->file);
    if (luaL_loadbufferx(L, source->text, source->len, chunk, "t") != LUA_OK) lua_error(L);
    push_env(L, source->kind, plugin);
    const char *upvalue = lua_setupvalue(L, -2, 1);
    assert(upvalue);
    (void)upvalue;
    lua_call(L, 0, 1);
}

// ---- shared modules ----------------------------------------------------------------------------

static int fn_require(lua_State *L) {
    struct hm_host *host = hm_host_of(L);
    const char *name = luaL_checkstring(L, 1);
    lua_settop(L, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_required);
    if (lua_getfield(L, 2, name) != LUA_TNIL) {
        if (lua_isboolean(L, -1)) return luaL_error(L, "%s requires itself", name);
        return 1;
    }
    const struct hm_source *source =
        strncmp(name, "lib.kinds.", 10) == 0 ? NULL : hm_sources_find(&host->sources, "lib", name);
    if (!source) return luaL_error(L, "there is no shared module '%s'", name);
    if (host->box.phase != HM_LOADING)
        return luaL_error(L,
                          "require '%s' while a call runs: modules are loaded when the plugin is; require it "
                          "at the top of the file",
                          name);
    lua_pushboolean(L, 0);
    lua_setfield(L, 2, name);
    run_source(L, source, -1);
    if (lua_isnil(L, -1)) return luaL_error(L, "the module '%s' returns nothing", name);
    lua_pushvalue(L, -1);
    lua_setfield(L, 2, name);
    return 1;
}

static void push_host_table(lua_State *L, const struct hm_host *host) {
    lua_newtable(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_kinds);
    lua_getfield(L, -1, "schema");
    lua_remove(L, -2);
    lua_setfield(L, -2, "schema");
    lua_pushstring(L, host->institution);
    lua_setfield(L, -2, "institution");
}

// lib.kinds.NAME returns function(host) -> {name = constructor}.
static int load_kind(lua_State *L) {
    struct hm_host *host = hm_host_of(L);
    const struct hm_source *source = lua_touserdata(L, 1);
    const char *name = source->id + strlen("lib.kinds.");
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_kinds);
    run_source(L, source, -1);
    if (!lua_isfunction(L, -1)) return luaL_error(L, "%s does not return a function", source->file);
    push_host_table(L, host);
    lua_call(L, 1, 1);
    if (!lua_istable(L, -1)) return luaL_error(L, "%s: its function does not return a table", source->file);
    lua_setfield(L, 2, name);
    return 0;
}

// ---- plugins -----------------------------------------------------------------------------------

static void set_text(lua_State *L, int table, const char *name, const char *text) {
    lua_pushstring(L, name);
    lua_pushstring(L, text);
    lua_rawset(L, table);
}

// Runs the file of loaded[plugin], checks the declaration once more (a plugin that inherits changes one that
// was checked before it changed) and pushes it.
static void push_declaration(lua_State *L, int plugin) {
    struct hm_host *host = hm_host_of(L);
    const struct hm_source *source = host->loaded[plugin].source;
    char version[13];
    snprintf(version, sizeof version, "%.12s", source->hash);
    run_source(L, source, plugin);
    if (!lua_istable(L, -1)) luaL_error(L, "%s does not return a declaration", source->file);
    int decl = lua_gettop(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_kinds);
    lua_getfield(L, -1, source->kind);
    if (!lua_istable(L, -1) || lua_getfield(L, -1, source->kind) != LUA_TFUNCTION)
        luaL_error(L, "there is no constructor for %s", source->kind);
    lua_pushvalue(L, decl);
    lua_call(L, 1, 1);
    lua_replace(L, decl);
    lua_settop(L, decl);
    if (!lua_istable(L, decl)) luaL_error(L, "%s does not return a declaration", source->file);
    lua_pushliteral(L, "id");
    struct hm_str id = {0};
    if (lua_rawget(L, decl) == LUA_TSTRING) id.ptr = lua_tolstring(L, -1, &id.len);
    if (!id.ptr || !hm_name_valid(id))
        luaL_error(L, "id: must be a name of small letters, digits, '-', '_' and '.'");
    if (source->id[0] && strcmp(source->id, id.ptr) != 0)
        luaL_error(L, "id: is '%s', but the plugin is kept as '%s'", id.ptr, source->id);
    snprintf(host->loaded[plugin].id, sizeof host->loaded[plugin].id, "%s", id.ptr);
    lua_settop(L, decl);
    set_text(L, decl, "kind", source->kind);
    set_text(L, decl, "version", version);
    set_text(L, decl, "layer", source->layer);
    set_text(L, decl, "file", source->file);
}

static int fn_inherit(lua_State *L) {
    struct hm_host *host = hm_host_of(L);
    int plugin = (int)lua_tointeger(L, lua_upvalueindex(1));
    if (plugin < 0 || (size_t)plugin >= host->loaded_count)
        return luaL_error(L, "inherit: a shared module has nothing to inherit");
    const struct hm_source *mine = host->loaded[plugin].source;
    for (int i = plugin - 1; i >= 0 && mine->id[0]; i--)
        if (strcmp(host->loaded[i].source->kind, mine->kind) == 0 &&
            strcmp(host->loaded[i].id, mine->id) == 0) {
            push_declaration(L, i);
            return 1;
        }
    return luaL_error(L, "inherit: no other layer has this plugin");
}

static const struct hm_lua_fn base_fns[] = {
    {"require", "name: string -> any",
     "A shared module of plugins/lib, such as require \"lib.clocks\". Loaded once.", fn_require, NULL},
    {"inherit", " -> table", "The declaration that this plugin overrides, to be changed and returned.",
     fn_inherit, NULL},
    {0}};
const struct hm_lua_module hm_module_base = {"", "Names that stand by themselves.", base_fns, false};

static int load_plugin(lua_State *L) {
    int plugin = (int)lua_tointeger(L, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_decls);
    push_declaration(L, plugin);
    lua_rawseti(L, 2, plugin + 1);
    return 0;
}

static bool is_name_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

// Where the word stands by itself at or behind `from`, or NULL.
static const char *find_word(const char *from, const char *word, size_t len) {
    for (const char *at = from; (at = strstr(at, word)) != NULL; at++)
        if ((at == from || !is_name_char(at[-1])) && !is_name_char(at[len])) return at;
    return NULL;
}

// Lua forgets the frame of a file that ends in "return service{…}" (a tail call), and with it the line of a
// fault that the constructor finds. But the fault has a path, "methods.pair.end.access: …": its names are
// looked up in the text, one behind the other, and the line of the last that is found is told.
int hm_line_of_path(const struct hm_source *source, const char *message) {
    const char *end = strstr(message, ": "), *at = source->text;
    char word[80];
    int line = 1;
    if (!end) return 0;
    for (const char *p = message; p < end;) {
        size_t len = 0;
        while (p + len < end && is_name_char(p[len]))
            len++;
        if (len && len < sizeof word && !(p[0] >= '0' && p[0] <= '9')) {
            snprintf(word, sizeof word, "%.*s", (int)len, p);
            const char *found = find_word(at, word, len);
            if (found) at = found;
        }
        p += len ? len : 1;
    }
    for (const char *c = source->text; c < at; c++)
        line += *c == '\n';
    return at == source->text ? 0 : line;
}

// What a problem of a source names as its plugin.
static void name_of(const struct hm_host *host, const struct hm_source *source, int plugin, char out[96]) {
    const char *id = plugin >= 0 && host->loaded[plugin].id[0] ? host->loaded[plugin].id : source->id;
    const char *stem = strrchr(source->file, '/');
    snprintf(out, 96, "%s", id[0] || !stem ? id : stem + 1);
    if (!id[0] && strlen(out) > 4) out[strlen(out) - 4] = '\0'; // "pair.lua": its id is not known yet
}

// A constructor that finds several faults raises {faults = {"path: what", …}}: each becomes a problem. False:
// the error on the top is of another kind, and still there.
static bool take_faults(struct hm_host *host, const struct hm_source *source, int plugin) {
    lua_State *L = host->box.L;
    char name[96];
    if (plugin < 0 || hm_sandbox_spent(&host->box) || !lua_istable(L, -1)) return false;
    lua_pushliteral(L, "faults");
    if (lua_rawget(L, -2) != LUA_TTABLE) {
        lua_pop(L, 1);
        return false;
    }
    name_of(host, source, plugin, name);
    lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
    for (lua_Integer i = 1; i <= n && i <= FAULTS_MAX; i++) {
        if (lua_rawgeti(L, -1, i) == LUA_TSTRING) {
            const char *text = lua_tostring(L, -1);
            hm_problem_of(host, source, name, source->file, hm_line_of_path(source, text), text);
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 2);
    return n > 0;
}

// Runs fn(argument on the top) protected; a failure becomes a problem of the plugin or file.
static bool guarded(struct hm_host *host, lua_CFunction fn, const struct hm_source *source, int plugin) {
    lua_State *L = host->box.L;
    char name[96];
    lua_pushcfunction(L, hm_traceback);
    lua_pushcfunction(L, fn);
    if (plugin >= 0) {
        lua_pushinteger(L, plugin);
    } else {
        lua_pushlightuserdata(L, (void *)source);
    }
    hm_trouble_clear(host);
    host->box.plugin = plugin;
    int status = lua_pcall(L, 1, 0, -3);
    if (status != LUA_OK && !take_faults(host, source, plugin)) {
        hm_trouble_take(host, status);
        if (!host->trouble.line && plugin >= 0 && !hm_sandbox_spent(&host->box))
            host->trouble.line = hm_line_of_path(source, host->trouble.message);
        name_of(host, source, plugin, name);
        hm_problem_of(host, source, name, host->trouble.file[0] ? host->trouble.file : source->file,
                      host->trouble.line, host->trouble.message);
    }
    lua_settop(L, 0);
    return status == LUA_OK && !hm_sandbox_spent(&host->box);
}

struct lint_args {
    const struct hm_source *source;
    hm_lint_fn fn;
    void *arg;
};

static int lint_one(lua_State *L) {
    const struct lint_args *args = lua_touserdata(L, 1);
    hm_lint(L, args->source, args->fn, args->arg);
    return 0;
}

bool hm_host_lint(struct hm_host *host, bool all, hm_lint_fn fn, void *arg) {
    lua_State *L = host->box.L;
    bool ok = L != NULL;
    for (size_t i = 0; i < host->sources.count && ok; i++) {
        const struct hm_source *s = &host->sources.list[i];
        if (strcmp(s->kind, "lib") == 0 || !(all || s->candidate)) continue;
        struct lint_args args = {s, fn, arg};
        lua_pushcfunction(L, lint_one);
        lua_pushlightuserdata(L, &args);
        if (lua_pcall(L, 1, 0, 0) != LUA_OK) { // out of memory
            ok = false;
            lua_pop(L, 1);
        }
    }
    return ok;
}

// Of plugins with the same kind and id the last is active.
static void find_layers(struct hm_host *host) {
    for (size_t i = 0; i < host->loaded_count; i++) {
        struct hm_loaded *upper = &host->loaded[i];
        upper->active = true;
        upper->under = -1;
        for (size_t j = 0; j < i; j++) {
            struct hm_loaded *lower = &host->loaded[j];
            if (!lower->id[0] || strcmp(lower->id, upper->id) != 0 ||
                strcmp(lower->source->kind, upper->source->kind) != 0)
                continue;
            if (strcmp(lower->source->layer, upper->source->layer) == 0) {
                char message[256];
                snprintf(message, sizeof message, "id: '%s' is declared in %s already", upper->id,
                         lower->source->file);
                hm_problem_of(host, upper->source, upper->id, upper->source->file, 0, message);
            }
            lower->active = false;
            upper->under = (int)j;
        }
    }
}

// ---- what services declare ---------------------------------------------------------------------

// Puts every member of decl[field] into the registry table `into`; a name that is there already is a problem.
static void merge(lua_State *L, struct hm_host *host, int plugin, const char *field, const void *into) {
    const struct hm_loaded *p = &host->loaded[plugin];
    int top = lua_gettop(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_decls);
    lua_rawgeti(L, -1, plugin + 1);
    lua_pushstring(L, field);
    if (lua_rawget(L, -2) != LUA_TTABLE) {
        lua_settop(L, top);
        return;
    }
    int from = lua_gettop(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, into);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_owners);
    int to = from + 1, owners = from + 2;
    lua_pushnil(L);
    while (lua_next(L, from)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        if (lua_getfield(L, to, name) != LUA_TNIL) {
            char message[256];
            lua_getfield(L, owners, name);
            const char *other = host->loaded[lua_tointeger(L, -1)].id;
            snprintf(message, sizeof message, "%s: \"%s\" is declared by %s already", field, name, other);
            hm_problem_of(host, p->source, p->id, p->source->file, 0, message);
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
        lua_setfield(L, to, name);
        lua_pushinteger(L, plugin);
        lua_setfield(L, owners, name);
    }
    lua_settop(L, top);
}

// The times of `every`: one parser, the server's own, says what is wrong with one.
static void check_times(lua_State *L, struct hm_host *host, int plugin) {
    const struct hm_loaded *p = &host->loaded[plugin];
    int top = lua_gettop(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_decls);
    lua_rawgeti(L, -1, plugin + 1);
    if (lua_getfield(L, -1, "every") == LUA_TTABLE) {
        lua_pushnil(L);
        while (lua_next(L, -2)) {
            struct hm_cron cron;
            struct hm_error err = {0};
            char message[sizeof err.message + HM_CRON_MAX + 16];
            struct hm_str text = {0};
            lua_pop(L, 1);
            if (lua_type(L, -1) == LUA_TSTRING) text.ptr = lua_tolstring(L, -1, &text.len);
            if (hm_cron_parse(text, &cron, &err)) continue;
            snprintf(message, sizeof message, "every.%.*s: %s",
                     (int)(text.len < HM_CRON_MAX ? text.len : HM_CRON_MAX), text.ptr ? text.ptr : "",
                     err.message);
            hm_problem(host, p->id, p->source->file, 0, message);
        }
    }
    lua_settop(L, top);
}

static int register_all(lua_State *L) {
    struct hm_host *host = hm_host_of(L);
    for (size_t i = 0; i < host->loaded_count; i++) {
        if (!host->loaded[i].active) continue;
        check_times(L, host, (int)i);
        if (strcmp(host->loaded[i].source->kind, "service") == 0) {
            merge(L, host, (int)i, "records", &hm_reg_records);
            merge(L, host, (int)i, "methods", &hm_reg_methods);
        }
        lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_active);
        if (lua_getfield(L, -1, host->loaded[i].source->kind) != LUA_TTABLE) {
            lua_pop(L, 1);
            lua_newtable(L);
            lua_pushvalue(L, -1);
            lua_setfield(L, -3, host->loaded[i].source->kind);
        }
        lua_rawgetp(L, LUA_REGISTRYINDEX, &hm_reg_decls);
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        lua_rawseti(L, -3, (lua_Integer)lua_rawlen(L, -3) + 1);
        lua_settop(L, 0);
    }
    hm_types_build(L, hm_scratch(host, 0));
    return 0;
}

static int build_catalogue(lua_State *L) {
    hm_catalogue_build(L);
    return 0;
}

static int set_up(lua_State *L) {
    static const void *const tables[] = {&hm_reg_decls, &hm_reg_methods, &hm_reg_owners,  &hm_reg_records,
                                         &hm_reg_kinds, &hm_reg_active,  &hm_reg_required};
    hm_lua_json_open(L);
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        lua_newtable(L);
        lua_rawsetp(L, LUA_REGISTRYINDEX, tables[i]);
    }
    return 0;
}

static bool load_kinds(struct hm_host *host) {
    const struct hm_source *schema = hm_sources_find(&host->sources, "lib", "lib.kinds.schema");
    bool ok = schema && guarded(host, load_kind, schema, -1);
    for (size_t i = 0; i < host->sources.count && ok; i++) {
        const struct hm_source *s = &host->sources.list[i];
        if (strncmp(s->id, "lib.kinds.", 10) == 0 && s != schema) ok = guarded(host, load_kind, s, -1);
    }
    if (!schema) hm_problem(host, "lib", "lib/kinds/schema.lua", 0, "is missing");
    return ok;
}

static void load_plugins(struct hm_host *host) {
    host->loaded = hm_alloc_array(host->sources.count, sizeof *host->loaded);
    for (size_t i = 0; i < host->sources.count; i++) {
        const struct hm_source *s = &host->sources.list[i];
        if (strcmp(s->kind, "lib") == 0) continue;
        int plugin = (int)host->loaded_count++;
        host->loaded[plugin] = (struct hm_loaded){.source = s, .under = -1};
        snprintf(host->loaded[plugin].id, sizeof host->loaded[plugin].id, "%s", s->id);
        if (!guarded(host, load_plugin, s, plugin) && hm_sandbox_spent(&host->box))
            return; // the state is no longer good
    }
    find_layers(host);
}

// All shared modules are there when the first call runs: one that came with a call would stay for the next.
static int require_all(lua_State *L) {
    const struct hm_sources *sources = &hm_host_of(L)->sources;
    for (size_t i = 0; i < sources->count; i++) {
        const char *id = sources->list[i].id;
        if (strcmp(sources->list[i].kind, "lib") != 0 || strncmp(id, "lib.kinds.", 10) == 0) continue;
        lua_pushcfunction(L, fn_require);
        lua_pushstring(L, id);
        lua_call(L, 1, 0);
    }
    return 0;
}

static const struct hm_source host_source = {.kind = "host", .file = ""};

static bool make_types(struct hm_host *host) {
    struct hm_error err = {0};
    if (hm_types_parse(hm_buf_view(&host->scratch[0]), &host->types, &err)) return true;
    hm_problem(host, "", "", 0, err.message);
    return false;
}

bool hm_host_load(struct hm_host *host) {
    struct hm_error err = {0};
    hm_host_drop(host);
    hm_buf_clear(&host->problems);
    hm_buf_clear(&host->warnings);
    if (!host->tx) host->tx = hm_tx_new();
    if (!hm_sandbox_open(&host->box, host, &err)) {
        hm_problem(host, "", "", 0, err.message);
        return false;
    }
    bool ok = hm_sandbox_load(&host->box, &err);
    if (!ok) hm_problem(host, "", "", 0, err.message);
    hm_sandbox_arm(&host->box, LOAD_MS, 0, LOAD_BYTES);
    ok = ok && guarded(host, set_up, &host_source, -1) && load_kinds(host) &&
         guarded(host, require_all, &host_source, -1);
    if (ok) {
        load_plugins(host);
        ok = !host->problems.len && guarded(host, register_all, &host_source, -1) && !host->problems.len &&
             make_types(host) && guarded(host, build_catalogue, &host_source, -1) && !host->problems.len &&
             guarded(host, hm_upvalues_check, &host_source, -1) && !host->problems.len;
    }
    if (ok && !hm_sandbox_seal(&host->box, &err)) {
        hm_problem(host, "", "", 0, err.message);
        ok = false;
    }
    hm_sandbox_disarm(&host->box);
    host->open = ok;
    host->loaded_bytes = host->box.pool.bytes;
    if (!ok && !host->problems.len) hm_problem(host, "", "", 0, "the plugins could not be loaded");
    return ok;
}

// What was loaded once loads again; should it not, the worker ends, and the server starts another.
bool hm_host_renew(struct hm_host *host) {
    size_t kept = host->box.pool.bytes - host->loaded_bytes; // by the pool, which gives nothing back
    bool swollen = host->box.memory_bytes && kept > host->box.memory_bytes / 2;
    if (host->open && host->box.image.sealed && !hm_sandbox_spent(&host->box) &&
        host->calls < HM_CALLS_OF_STATE && !swollen)
        return true;
    return hm_host_load(host);
}
