// Plugins for the tests, as an institution's administrator would deploy them.

// The methods of the JSON-RPC specification's examples, and a record type with an audience that the caller chooses.
export const probe = `
return service {
  id = "probe",
  records = {
    probe = {
      key = "uuid",
      fields = { text = text { required = true, max_length = 20000 }, n = integer {} },
      indexes = { by_n = { fields = { "n" } } },
    },
    probe_counter = { key = "natural", fields = { n = integer {} } },
  },
  methods = {
    subtract = { summary = "a - b", access = "public", run = function(ctx, p)
      if p.minuend then return p.minuend - p.subtrahend end
      return p[1] - p[2]
    end },
    sum = { summary = "the sum of its arguments", access = "public", run = function(ctx, p)
      local total = 0
      for _, n in ipairs(p) do total = total + n end
      return total
    end },
    get_data = { summary = "two values", access = "public", run = function() return { "hello", 5 } end },
    update = { summary = "takes anything", access = "public", run = function() return store.null end },
    notify_hello = { summary = "takes anything", access = "public", run = function() return store.null end },
    notify_sum = { summary = "takes anything", access = "public", run = function() return store.null end },
    ["probe.put"] = { summary = "writes a probe", access = "signed_in", writes = true,
      params = { text = text { required = true, max_length = 20000 }, n = integer {}, to = list { of = text {} } },
      run = function(ctx, p)
        return store.put("probe", { data = { text = p.text, n = p.n }, audience = p.to or { "institution" } })
      end },
    ["probe.set"] = { summary = "changes a probe", access = "signed_in", writes = true,
      params = { id = text { required = true }, text = text {}, to = list { of = text {} } },
      run = function(ctx, p)
        return store.patch("probe", p.id, { text = p.text }, p.to and { audience = p.to } or nil)
      end },
    ["probe.drop"] = { summary = "deletes a probe", access = "signed_in", writes = true,
      params = { id = text { required = true } },
      run = function(ctx, p) store.delete("probe", p.id) return {} end },
    ["probe.count_up"] = { summary = "adds one to a counter", access = "signed_in", writes = true,
      params = { id = text { required = true } },
      run = function(ctx, p)
        local found = store.get("probe_counter", p.id)
        if not found then
          store.put("probe_counter", { id = p.id, data = { n = 1 }, audience = { "institution" } })
          return { n = 1 }
        end
        found.data.n = found.data.n + 1
        store.set(found)
        return { n = found.data.n }
      end },
    ["probe.fail"] = { summary = "always fails", access = "signed_in", run = function(ctx, p)
      local nothing = nil
      return nothing.field
    end },
  },
}
`;

export const hostile = `
return service {
  id = "hostile",
  methods = {
    ["hostile.loop"] = { summary = "never ends", access = "signed_in", run = function() while true do end end },
    ["hostile.memory"] = { summary = "eats memory", access = "signed_in", run = function()
      local all = {}
      for i = 1, 1e9 do all[i] = { i, tostring(i) } end
      return #all
    end },
    ["hostile.string"] = { summary = "doubles a string", access = "signed_in", run = function()
      local s = "x"
      while true do s = s .. s end
    end },
    ["hostile.pattern"] = { summary = "a pattern without end", access = "signed_in", run = function()
      local s = string.rep("a", 400)
      return string.find(s, string.rep("a-", 60) .. "b") or 0
    end },
    ["hostile.catch"] = { summary = "catches its own limit", access = "signed_in", run = function()
      while true do pcall(function() while true do end end) end
    end },
  },
}
`;

// A matching rule that gives each pair the same points; the number tells versions apart.
export const rule = (points) => `
return matcher {
  id = "test-rule",
  title = { en = "Test rule", uz = "Sinov qoidasi", ["uz-Cyrl"] = "Синов қоидаси", ru = "Пробное правило" },
  form = "successful-unsuccessful",
  mentor = { where = { gpa = at_least(4.0) }, capacity = "mentoring.capacity" },
  mentee = { where = { gpa = below(3.0) } },
  must = {},
  prefer = { shared("languages", { points = ${points} }), equal("faculty", { points = ${10000 - points} }) },
}
`;
