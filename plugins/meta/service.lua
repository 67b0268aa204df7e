---@meta
-- Written by `hamroh worker --meta`; not by hand.

-- In plugins/services.

--- Record types, methods, reactions to changes, and what is done at times.
---@param declaration {id: string, title: table?, records: table<string, table>?, methods: table<string, table>?, on: table<string, fun(ctx: Ctx, change: Change)>?, every: table<string, fun(ctx: Ctx, due: integer)|table>?, tests: table<string, fun(t: T)>?}
---@return table
function service(declaration) end

