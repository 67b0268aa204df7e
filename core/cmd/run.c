// `hamroh run`: a Lua script with an administrator's rights. The script runs in this process and reaches the
// data only by calls over the control socket, like any client. Buffers that live across Lua calls are Lua's
// own objects, so that an error raised in between loses nothing.
#include "auth/auth.h"
#include "base/clock.h"
#include "cmd/client.h"
#include "cmd/cmd.h"
#include "script/lua_json.h"
#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FILE_MAX_BYTES (256u << 20)

struct run {
    struct hm_client *client;
    const char *institution;
    char folder[PATH_MAX]; // of the script
    uint64_t random;       // state of the generator
};

static struct run *run_of(lua_State *L) {
    return *(struct run **)lua_getextraspace(L);
}

// ---- buffers that Lua owns
// --------------------------------------------------------------------------------------------

#define BUFFER "hamroh.buffer"

static int buffer_gc(lua_State *L) {
    hm_buf_free(luaL_checkudata(L, 1, BUFFER));
    return 0;
}

static struct hm_buf *push_buffer(lua_State *L) {
    struct hm_buf *b = lua_newuserdatauv(L, sizeof *b, 0);
    *b = (struct hm_buf){0};
    luaL_setmetatable(L, BUFFER);
    return b;
}

// ---- calls
// ------------------------------------------------------------------------------------------------------------

// {as = token, institution = id} at index, or nothing. What is borrowed stays alive in the table.
static struct hm_call_as call_as(lua_State *L, int index) {
    struct hm_call_as as = {.institution = run_of(L)->institution};
    if (lua_isnoneornil(L, index)) return as;
    luaL_checktype(L, index, LUA_TTABLE);
    if (lua_getfield(L, index, "institution") == LUA_TSTRING) as.institution = lua_tostring(L, -1);
    if (lua_getfield(L, index, "as") == LUA_TSTRING) {
        size_t len;
        const char *token = lua_tolstring(L, -1, &len);
        as.token = (struct hm_str){token, len};
    } else if (!lua_isnil(L, -1)) {
        luaL_error(L, "as must be a token (a text)");
    }
    return as;
}

static void push_checked(lua_State *L, const struct hm_buf *text) {
    struct hm_json value;
    if (text->len && hm_json_parse(hm_buf_view(text), &value, NULL))
        hm_lua_push_json(L, value);
    else
        lua_pushnil(L);
}

// Does the call of (method, params, opts) on the stack. True: the result is on top; false: {code, message,
// data} is.
static bool do_call(lua_State *L) {
    const char *method = luaL_checkstring(L, 1);
    lua_settop(L, 3);
    struct hm_call_as as = call_as(L, 3);
    struct hm_buf *params = push_buffer(L), *result = push_buffer(L), *data = push_buffer(L);
    struct hm_error err = {0};
    if (!lua_isnil(L, 2) && !hm_lua_to_json(L, 2, params, &err))
        luaL_error(L, "%s: params: %s", method, err.message);
    bool ok = hm_client_call(run_of(L)->client, method, hm_buf_view(params), as, result, data, &err);
    hm_buf_free(params);
    if (ok) {
        push_checked(L, result);
        hm_buf_free(result);
        return true;
    }
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, err.code);
    lua_setfield(L, -2, "code");
    lua_pushstring(L, err.message);
    lua_setfield(L, -2, "message");
    push_checked(L, data);
    lua_setfield(L, -2, "data");
    if (data->len) { // for must: as text
        lua_pushlstring(L, data->data, data->len);
        lua_replace(L, 2);
    } else {
        lua_pushnil(L);
        lua_replace(L, 2);
    }
    return false;
}

static int lua_call_method(lua_State *L) {
    if (do_call(L)) return 1;
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
}

static int lua_must(lua_State *L) {
    if (do_call(L)) return 1;
    lua_getfield(L, -1, "message");
    lua_getfield(L, -2, "code");
    const char *data = lua_tostring(L, 2);
    return luaL_error(L, "%s: %s (%d)%s%s", lua_tostring(L, 1), lua_tostring(L, -2),
                      (int)lua_tointeger(L, -1), data ? " " : "", data ? data : "");
}

static int lua_wait_job(lua_State *L) {
    const char *id = luaL_checkstring(L, 1);
    lua_settop(L, 2);
    struct hm_call_as as = call_as(L, 2);
    struct hm_buf *job = push_buffer(L);
    struct hm_error err = {0};
    if (!hm_client_wait(run_of(L)->client, id, as, NULL, NULL, job, &err))
        return luaL_error(L, "job %s: %s", id, err.message);
    push_checked(L, job);
    return 1;
}

// ---- the rest of the environment
// ----------------------------------------------------------------------------------------

// SplitMix64 (Steele, Lea, Flood 2014): any seed is good, and a script runs alike everywhere.
static uint64_t next_random(struct run *run) {
    uint64_t z = run->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

// random() is a float in [0, 1), random(n) a whole number from 1 to n.
static int lua_random(lua_State *L) {
    struct run *run = run_of(L);
    if (lua_isnoneornil(L, 1)) {
        lua_pushnumber(L, (double)(next_random(run) >> 11) * 0x1p-53);
        return 1;
    }
    lua_Integer n = luaL_checkinteger(L, 1);
    luaL_argcheck(L, n >= 1, 1, "must be at least 1");
    uint64_t range = (uint64_t)n, rest = UINT64_MAX - UINT64_MAX % range, v;
    while ((v = next_random(run)) >= rest)
        continue; // so that every number is equally likely
    lua_pushinteger(L, (lua_Integer)(v % range) + 1);
    return 1;
}

static int lua_hash_password(lua_State *L) {
    char hash[HM_HASH_MAX];
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    if (!hm_pw_hash_now((struct hm_str){text, len}, hash))
        return luaL_error(L, "the password cannot be hashed");
    lua_pushstring(L, hash);
    return 1;
}

static int lua_read_file(lua_State *L) {
    struct run *run = run_of(L);
    const char *name = luaL_checkstring(L, 1);
    lua_settop(L, 1);
    const char *path = name[0] == '/' ? name : lua_pushfstring(L, "%s/%s", run->folder, name);
    struct hm_buf *text = push_buffer(L);
    struct hm_error err = {0};
    if (!hm_read_file(path, FILE_MAX_BYTES, text, &err)) {
        lua_pushnil(L);
        lua_pushstring(L, err.message);
        return 2;
    }
    lua_pushlstring(L, text->data ? text->data : "", text->len);
    hm_buf_free(text);
    return 1;
}

static int lua_time_ms(lua_State *L) {
    lua_pushinteger(L, hm_now_ms());
    return 1;
}

static int json_encode(lua_State *L) {
    luaL_checkany(L, 1);
    struct hm_buf *text = push_buffer(L);
    struct hm_error err = {0};
    if (!hm_lua_to_json(L, 1, text, &err)) return luaL_error(L, "%s", err.message);
    lua_pushlstring(L, text->data, text->len);
    hm_buf_free(text);
    return 1;
}

// nil and a message when the text is no JSON.
static int json_decode(lua_State *L) {
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    struct hm_json value;
    struct hm_error err = {0};
    if (!hm_json_parse((struct hm_str){text, len}, &value, &err)) {
        lua_pushnil(L);
        lua_pushstring(L, err.message);
        return 2;
    }
    hm_lua_push_json(L, value);
    return 1;
}

static int json_array(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    hm_lua_mark_array(L, 1);
    lua_settop(L, 1);
    return 1;
}

static int traceback(lua_State *L) {
    const char *message = lua_tostring(L, 1);
    luaL_traceback(L, L, message ? message : "an error that is no text", 1);
    return 1;
}

static const luaL_Reg functions[] = {
    {"call", lua_call_method},
    {"must", lua_must},
    {"wait_job", lua_wait_job},
    {"random", lua_random},
    {"time_ms", lua_time_ms},
    {"read_file", lua_read_file},
    {"hash_password", lua_hash_password},
    {NULL, NULL},
};
static const luaL_Reg json_functions[] = {
    {"encode", json_encode},
    {"decode", json_decode},
    {"array", json_array},
    {NULL, NULL},
};

static void open_libraries(lua_State *L) {
    static const luaL_Reg libraries[] = {
        {LUA_GNAME, luaopen_base},       {LUA_STRLIBNAME, luaopen_string}, {LUA_TABLIBNAME, luaopen_table},
        {LUA_MATHLIBNAME, luaopen_math}, {LUA_UTF8LIBNAME, luaopen_utf8},
    };
    for (size_t i = 0; i < sizeof libraries / sizeof libraries[0]; i++) {
        luaL_requiref(L, libraries[i].name, libraries[i].func, 1);
        lua_pop(L, 1);
    }
    // Files are read by read_file, from the script's folder, and nothing is loaded from elsewhere.
    static const char *const removed[] = {"dofile", "loadfile"};
    for (size_t i = 0; i < sizeof removed / sizeof removed[0]; i++) {
        lua_pushnil(L);
        lua_setglobal(L, removed[i]);
    }
}

struct start {
    const char *script;
    int argc;
    char **argv; // of the script
};

// Everything that may raise, inside one protected call.
static int start_script(lua_State *L) {
    const struct start *start = lua_touserdata(L, 1);
    struct run *run = run_of(L);
    open_libraries(L);
    hm_lua_json_open(L);
    luaL_newmetatable(L, BUFFER);
    lua_pushcfunction(L, buffer_gc);
    lua_setfield(L, -2, "__gc");
    lua_pushglobaltable(L);
    luaL_setfuncs(L, functions, 0);
    luaL_newlib(L, json_functions);
    hm_lua_push_null(L);
    lua_setfield(L, -2, "null");
    lua_setfield(L, -2, "json");
    lua_createtable(L, start->argc, 0);
    for (int i = 0; i < start->argc; i++) {
        lua_pushstring(L, start->argv[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "args");
    lua_getglobal(L, "math"); // math.random, too, gives the same numbers in every run
    lua_getfield(L, -1, "randomseed");
    lua_pushinteger(L, (lua_Integer)run->random);
    lua_call(L, 1, 0);
    if (luaL_loadfilex(L, start->script, "t") != LUA_OK) return lua_error(L);
    lua_call(L, 0, 0);
    return 0;
}

static int run_script(struct run *run, struct start *start) {
    lua_State *L = luaL_newstate();
    int code = HM_EXIT_FAILED;
    if (!L) {
        fprintf(stderr, "hamroh: no memory for Lua\n");
        return code;
    }
    *(struct run **)lua_getextraspace(L) = run;
    lua_pushcfunction(L, traceback);
    lua_pushcfunction(L, start_script);
    lua_pushlightuserdata(L, start);
    if (lua_pcall(L, 1, 0, 1) == LUA_OK) {
        code = HM_EXIT_DONE;
    } else {
        fflush(stdout);
        const char *message = lua_tostring(L, -1);
        fprintf(stderr, "%s\n", message ? message : "the script failed");
    }
    lua_close(L);
    return code;
}

static void folder_of(const char *script, char out[PATH_MAX]) {
    char path[PATH_MAX];
    snprintf(out, PATH_MAX, ".");
    if (!realpath(script, path)) return;
    char *slash = strrchr(path, '/');
    if (slash && slash != path) *slash = '\0';
    memcpy(out, path, strlen(path) + 1);
}

// `hamroh run SCRIPT --data DIR` is understood, too.
static const char *data_among(struct start *start) {
    for (int i = 0; i + 1 < start->argc; i++) {
        if (strcmp(start->argv[i], "--data") != 0) continue;
        const char *data = start->argv[i + 1];
        for (int j = i; j + 2 < start->argc; j++)
            start->argv[j] = start->argv[j + 2];
        start->argc -= 2;
        return data;
    }
    return NULL;
}

int hm_cmd_run(int argc, char **argv) {
    const char *data = NULL, *seed = "1";
    struct run run = {.institution = "cluster"};
    const struct hm_option options[] = {
        {"--data", &data, NULL, false},
        {"--institution", &run.institution, NULL, false},
        {"--seed", &seed, NULL, false},
        {0},
    };
    int count;
    char **words, *end;
    if (!hm_options(argc, argv, options, true, &count, &words)) return HM_EXIT_USAGE;
    if (!hm_words_count(argv[0], count, 1, INT_MAX)) return HM_EXIT_USAGE;
    struct start start = {words[0], count - 1, words + 1};
    const char *behind = data_among(&start);
    if (behind) data = behind;
    if (!data) return hm_complain(HM_EXIT_USAGE, argv[0], "--data is missing (see hamroh run --help)");
    errno = 0;
    run.random = strtoull(seed, &end, 10);
    if (errno || end == seed || *end)
        return hm_complain(HM_EXIT_USAGE, argv[0], "--seed takes a whole number");
    if (access(start.script, R_OK) != 0)
        return hm_complain(HM_EXIT_FAILED, argv[0], "%s: %s", start.script, strerror(errno));
    struct hm_error err = {0};
    folder_of(start.script, run.folder);
    if (!hm_client_open(data, &run.client, &err))
        return hm_complain(HM_EXIT_FAILED, argv[0], "%s", err.message);
    setvbuf(stdout, NULL, _IOLBF, 0);
    int code = run_script(&run, &start);
    hm_client_close(run.client);
    return code;
}
