---@meta
-- Written by `hamroh worker --meta`; not by hand.

--- Accounts of persons.
---@class accounts
accounts = {}

--- A code with which this person makes an account; valid for 14 days unless said. Roles beyond student: administrators only.
--- Needs the right: coordinator.
--- Errors: forbidden, with `need`.
---@param invitation {person: string, roles: string[]?, name: string?, days: number?}
---@return string
function accounts.invite(invitation) end

--- Has this person an account?
---@param person string
---@return boolean
function accounts.exists(person) end

