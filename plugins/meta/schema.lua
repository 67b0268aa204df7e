---@meta
-- Written by `hamroh worker --meta`; not by hand.

-- Shapes of data, in all kinds of plugins.

--- A whole number.
---@param options? {min: integer?, max: integer?, required: boolean?, default: any, title: any, description: string?}
---@return table
function integer(options) end

--- A number.
---@param options? {min: number?, max: number?, required: boolean?, default: any, title: any, description: string?}
---@return table
function number(options) end

--- true or false.
---@param options? {required: boolean?, default: any, title: any, description: string?}
---@return table
function boolean(options) end

--- One of some values; also choice{ "a", "b" }.
---@param options {values: any[], required: boolean?, default: any, title: any, description: string?}
---@return table
function choice(options) end

--- A list of values of one shape.
---@param options? {of: table?, min: integer?, max: integer?, required: boolean?, default: any, title: any, description: string?}
---@return table
function list(options) end

--- An object; open: other names are let be.
---@param options {fields: table<string, table>, open: boolean?, required: boolean?, default: any, title: any, description: string?}
---@return table
function object(options) end

--- An object with any names and values of one shape.
---@param options? {of: table?, max: integer?, required: boolean?, default: any, title: any, description: string?}
---@return table
function map(options) end

--- A date as "2026-09-01".
---@param options? {required: boolean?, default: any, title: any, description: string?}
---@return table
function date(options) end

--- A moment: whole milliseconds since 1970 UTC.
---@param options? {min: integer?, max: integer?, required: boolean?, default: any, title: any, description: string?}
---@return table
function time(options) end

--- The id of a record: ref "person", ref "person" { required = true }.
---@param to string|{to: string?, required: boolean?, default: any, title: any, description: string?}
---@return table
function ref(to) end

--- Any value.
---@param options? {required: boolean?, default: any, title: any, description: string?}
---@return table
function any(options) end

--- Text, or texts by language.
---@param options? {max: integer?, required: boolean?, default: any, title: any, description: string?}
---@return table
function translated(options) end

