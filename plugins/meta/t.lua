---@meta
-- Written by `hamroh worker --meta`; not by hand.

--- What the tests of a plugin get.
---@class T
---@field ctx Ctx A ctx as methods get it: an administrator, on 2026-09-01 at 09:00.
---@field plugin table The declaration under test.
local T = {}

--- Both are the same, tables by what is in them.
---@param a any
---@param b any
---@param what? string
function T:equal(a, b, what) end

--- The value is true.
---@param value any
---@param what? string
function T:ok(value, what) end

--- The function raises an error (in which this text stands); gives the error.
---@param fn function
---@param how? string
---@return any
function T:fails(fn, how) end

--- Calls a method as this person; an administrator when nobody is named.
---@param method string
---@param params? table
---@param who? {person: string?, roles: string[]?, login: string?, locale: string?}
---@return any
function T:call(method, params, who) end

--- Sets the time.
---@param ms integer
function T:at(ms) end

return T
