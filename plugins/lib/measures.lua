-- Measured values in the store: one place that knows their natural key and who may read them.
local measures = {}

function measures.id(m)
  local id = m.person .. ":" .. m.name .. ":" .. m.moment
  return m.programme and id .. ":" .. m.programme or id
end

-- "created", "updated" or "unchanged": what writing this value would do.
function measures.compare(store, m)
  local old = store.get("measure", measures.id(m))
  if not old then return "created" end
  if old.data.value == m.value and old.data.max == m.max then return "unchanged" end
  return "updated"
end

function measures.write(store, m)
  local id = measures.id(m)
  local data = { person = m.person, name = m.name, moment = m.moment, value = m.value, max = m.max, programme = m.programme }
  if store.get("measure", id) then
    return store.patch("measure", id, { value = m.value, max = m.max or store.null })
  end
  return store.put("measure", {
    id = id,
    data = data,
    audience = { "person:" .. m.person, "role:coordinator", "role:administrator" },
  })
end

-- Values of one name and moment by person: {[person] = measure data}. With a programme, its own values and those of none.
function measures.by_person(store, name, moment, programme)
  local out = {}
  for record in store.each("measure", { index = "by_name", equals = { name, moment } }) do
    local data = record.data
    if not programme or not data.programme or data.programme == programme then
      if not out[data.person] or data.programme then out[data.person] = data end
    end
  end
  return out
end

return measures
