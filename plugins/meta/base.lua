---@meta
-- Written by `hamroh worker --meta`; not by hand.

--- Names that stand by themselves.

--- A shared module of plugins/lib, such as require "lib.clocks". Loaded once.
---@param name string
---@return any
function require(name) end

--- The declaration that this plugin overrides, to be changed and returned.
---@return table
function inherit() end

