---@meta
-- Written by `hamroh worker --meta`; not by hand.

--- Numbers about few people.
---@class stats
stats = {}

--- Mean and spread (n - 1).
---@param values number[]
---@return {n: integer, mean: number?, sd: number?, why_not: table?}
function stats.describe(values) end

--- The same people twice, in the same order: mean and sd of both, the change with its 95 % interval (change.low, change.high), and effect sizes.
---@param before number[]
---@param after number[]
---@return {n: integer, before: table, after: table, change: table, t: number?, p: number?, d_av: number?, d_z: number?, why_not: table?}
function stats.paired(before, after) end

--- Two groups: how much the mean of the first is above that of the second, with its 95 % interval, and Hedges' g. For changes, give the changes of each.
---@param a number[]
---@param b number[]
---@return {a: table, b: table, mean: number?, low: number?, high: number?, t: number?, df: number?, p: number?, g: number?, why_not: table?}
function stats.welch(a, b) end

--- Cronbach's alpha of people by items, complete answers only; or nil and why.
---@param answers number[][]
---@return number?, string?
function stats.alpha(answers) end

--- The change in units of its error; beyond 1.96 it is more than chance. Or nil and why.
---@param before number
---@param after number
---@param sd number
---@param reliability number
---@return number?, string?
function stats.reliable_change(before, after, sd, reliability) end

