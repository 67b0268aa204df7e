---@meta
-- Written by `hamroh worker --meta`; not by hand.

--- Records of the institution.
---@class store
---@field null lightuserdata JSON's null, in values and for store.patch.
store = {}

--- One record, or nil.
---@param type string
---@param id? string
---@return Record?
function store.get(type, id) end

--- Creates a record; a conflict when its id is there already. Its data is checked against the declared fields.
--- Errors: conflict `exists`; wrong params, all of them, as `errors`; not in a method without writes=true.
---@param type string
---@param record {id: string?, data: table, audience: string[]?, members: string[]?}
---@return Record
function store.put(type, record) end

--- Replaces a record; a conflict when it is no longer the version that was read.
--- Errors: conflict `version`; not found; wrong params.
---@param record Record
---@return Record
function store.set(record) end

--- Changes some fields of a record's data, also inside of a field that is declared as object{}; store.null takes a field away.
--- Errors: not found; wrong params.
---@param type string
---@param id string
---@param changes table
---@param more? {audience: string[]?, members: string[]?}
---@return Record
function store.patch(type, id, changes, more) end

--- Removes a record.
--- Errors: not found.
---@param type string
---@param id string
function store.delete(type, id) end

--- Walks the records of a type, by id or in the order of an index, the call's own writes among them.
---@param type string
---@param options? {index: string?, equals: any, from: any, to: any, order: string?, limit: integer?}
---@return fun(): Record?
function store.each(type, options) end

--- The first of such a walk, or nil.
---@param type string
---@param options? {index: string?, equals: any, from: any, to: any, order: string?, limit: integer?}
---@return Record?
function store.first(type, options) end

--- How many there are.
---@param type string
---@param options? {index: string?, equals: any, from: any, to: any, order: string?, limit: integer?}
---@return integer
function store.count(type, options) end

--- All of them, as a list.
---@param type string
---@param options? {index: string?, equals: any, from: any, to: any, order: string?, limit: integer?}
---@return Record[]
function store.list(type, options) end

--- A part of that list, 50 unless limit says otherwise (500 at most), and the cursor with which the next part is asked for; without a cursor it was the last. A cursor holds the id and the index values of the last record: it is for those who may see that.
--- Errors: a cursor of another list.
---@param type string
---@param options? {index: string?, equals: any, from: any, to: any, order: string?, limit: integer?, cursor: string?}
---@return {items: Record[], cursor: string?}
function store.page(type, options) end

--- The value of a sealed field. Who looked, at whose, and why is written down.
--- Needs the right: the caller's: to read the record.
--- Errors: not found; unavailable when the person has been erased.
---@param record Record
---@param field string
---@param why string
---@return any
function store.unseal(record, field, why) end

--- Marks a table, so that it is written as [] when it is empty.
---@param list? table
---@return table
function store.array(list) end

