---@meta
-- Written by `hamroh worker --meta`; not by hand.

-- In plugins/matchers.

--- A rule for making pairs; its points are 10,000 in all.
---@param declaration {id: string, title: table, form: string?, mentor: table?, mentee: table?, must: table[]?, prefer: table[], pair: function?, fairness: table?, keep: table?, tests: table?}
---@return table
function matcher(declaration) end

--- Condition on one person: the field is this or more.
---@param value number
---@return table
function at_least(value) end

--- The field is this or less.
---@param value number
---@return table
function at_most(value) end

--- The field is less than this.
---@param value number
---@return table
function below(value) end

--- The field is more than this.
---@param value number
---@return table
function above(value) end

--- The field is this.
---@param value any
---@return table
function equals(value) end

--- The field is one of these.
---@param values any[]
---@return table
function one_of(values) end

--- The list in the field has this in it.
---@param value any
---@return table
function has(value) end

--- The field is there at all.
---@type table
present = nil

--- Must: both lists have something in common.
---@param field string
---@return table
function share(field) end

--- Must: what each wants of the other's gender holds.
---@param field string
---@return table
function respects(field) end

--- Must: neither is in the other's list.
---@param field string
---@return table
function not_in(field) end

--- Must: both have the same.
---@param field string
---@return table
function equal_to(field) end

--- Must: so many hours of the week in common.
---@param field string
---@param options? {hours: integer}
---@return table
function overlap(field, options) end

--- Prefer: the mentor is strong where the mentee needs it.
---@param strengths string
---@param needs string
---@param options {points: integer, full_at: integer?, name: string?}
---@return table
function complement(strengths, needs, options) end

--- Prefer: much in common.
---@param field string
---@param options {points: integer, full_at: integer?, name: string?}
---@return table
function shared(field, options) end

--- Prefer: numbers close to each other.
---@param field string
---@param options {points: integer, within: number, name: string?}
---@return table
function near(field, options) end

--- Prefer: the same.
---@param field string
---@param options {points: integer, name: string?}
---@return table
function equal(field, options) end

--- Prefer: free hours in common on Saturday and Sunday.
---@param field string
---@param options {points: integer, full_at: integer?, name: string?}
---@return table
function weekend(field, options) end

--- Prefer: the mentor's number is higher.
---@param field string
---@param options {points: integer, within: number?, full_at: integer?, name: string?}
---@return table
function higher(field, options) end

--- Prefer: a distance between the numbers.
---@param field string
---@param options {points: integer, within: number?, full_at: integer?, name: string?}
---@return table
function gap(field, options) end

