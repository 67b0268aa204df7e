---@meta
-- Written by `hamroh worker --meta`; not by hand.

--- Who asks, what they may, and the time of the call.
---@class Ctx
---@field person string? Id of the caller's person, when they have one.
---@field login string? Login of the caller's account.
---@field roles string[] Roles of the caller's account.
---@field principals string[] All that the caller is: person:<id>, role:<name>, memberships such as pair:<id>.
---@field institution string Id of the institution.
---@field now integer The time of the call, in milliseconds since 1970 UTC. The only clock there is.
---@field locale string Language the caller reads: uz, uz-Cyrl, ru, en.
---@field admin boolean The caller is an administrator.
local Ctx = {}

--- Does the caller's account have any of these roles?
---@param ... string
---@return boolean
function Ctx:has_role(...) end

--- Goes on only when the caller has one of these roles, or is one of these principals ("pair:<id>", "person:<id>"). Else: forbidden, with what is needed.
--- Errors: forbidden, with `need`; unauthenticated when nobody is signed in.
---@param ... string
function Ctx:require(...) end

--- Has the caller one of these roles, or are they one of these principals? What ctx:require asks, as an answer.
---@param ... string
---@return boolean
function Ctx:is(...) end

--- Does the record's audience include the caller?
---@param record Record
---@return boolean
function Ctx:can_see(record) end

--- Ends the call with a conflict: a reason that programs know, and more in data.
--- Errors: conflict, with `reason` and data.
---@param reason string
---@param data? table
function Ctx:refuse(reason, data) end

--- Ends the call: there is no such thing, or the caller may not see it.
--- Errors: not found.
function Ctx:not_found() end

--- Ends the call: this parameter is wrong.
--- Errors: wrong params, with this path.
---@param path string
---@param message string
function Ctx:invalid(path, message) end

--- A number in [0, 1), or a whole one from 1 to n; the same again when the call is repeated.
---@param n? integer
---@return number
function Ctx:random(n) end

--- A new id for a record.
---@return string
function Ctx:uuid() end

--- Tells how far a job is, from 0 to 1.
---@param part number
---@param note? string
function Ctx:progress(part, note) end

--- Another method, in the same transaction and as the same caller.
--- Errors: those of that method, which asks for its rights, too.
---@param method string
---@param params? table
---@return any
function Ctx:call(method, params) end

return Ctx
