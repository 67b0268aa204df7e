---@meta
-- Written by `hamroh worker --meta`; not by hand.

--- What somebody has earned, each thing counted once.
---@class award
award = {}

--- Gives it once: for the same person, kind and evidence the award that is there already is returned, and false. evidence: the records that show it was earned, 1 to 20.
--- Needs the right: coordinator, coach or administrator; reactions and timers have it.
--- Errors: forbidden, with `need`.
---@param award {person: string, kind: string, title: table|string, amount: number?, unit: string?, evidence: {type: string, id: string}[]}
---@return Record, boolean
function award.give(award) end

--- What somebody has earned, the newest first. Its data: person, kind, title, amount, unit, evidence ("type:id"), given.
---@param person string
---@return Record[]
function award.list(person) end

--- Takes it back; the change log remembers that it was there.
--- Needs the right: coordinator, coach or administrator; reactions and timers have it.
--- Errors: forbidden, with `need`; not found.
---@param id string
function award.revoke(id) end

