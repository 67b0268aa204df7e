---@meta
-- Written by `hamroh worker --meta`; not by hand.

-- In plugins/reports.

--- Figures, with what they mean in words.
---@param declaration {id: string, title: table, params: table<string, table>?, run: fun(ctx: Ctx, params: table): table, charts: table?, access: string[]?, tests: table?}
---@return table
function report(declaration) end

