// Lua as it comes, beside a plugin's: runs the function NAME of the table that FILE returns, with the
// argument N, and prints how many milliseconds of computing each of ROUNDS took.
//   raw_lua FILE NAME N ROUNDS
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

int main(int argc, char **argv) {
    lua_State *L = luaL_newstate();
    if (argc != 5) return 2;
    luaL_openlibs(L);
    if (luaL_dofile(L, argv[1])) {
        fprintf(stderr, "raw_lua: %s\n", lua_tostring(L, -1));
        return 1;
    }
    for (int i = 0; i < atoi(argv[4]); i++) {
        lua_getfield(L, -1, argv[2]);
        lua_pushinteger(L, atoll(argv[3]));
        double begun = now_ms();
        if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
            fprintf(stderr, "raw_lua: %s\n", lua_tostring(L, -1));
            return 1;
        }
        printf("%.3f\n", now_ms() - begun);
    }
    lua_close(L);
    return 0;
}
