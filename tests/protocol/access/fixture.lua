-- A plugin for the tests of access: writes any record as an administrator, and opens sealed fields in every way there is.
local function secret(p) return { type = "fixture_secret", id = p.id } end
local function opened(p, why) return store.unseal(secret(p), "secret", why or p.why) end

local id = text { required = true, max = 200 }
local open_params = { id = id, why = text { required = true, max = 200 } }

return service {
  id = "fixture",
  records = {
    fixture_secret = {
      key = "natural", about = "person", sealed = { "secret" },
      fields = { person = ref "person" { required = true }, secret = any { required = true }, note = text {} },
      indexes = { by_person = { fields = { "person" } } },
    },
    fixture_sentinel = { key = "natural", fields = { open = text {} } },
    fixture_count = { key = "natural", fields = { n = integer {} } },
    fixture_name = { key = "uuid", fields = { name = text {} }, indexes = { by_name = { fields = { "name" }, unique = true } } },
  },
  methods = {
    ["fixture.put"] = {
      summary = "Writes records", access = { "administrator" }, writes = true, params = { records = list { of = any {}, max = 2000 } },
      run = function(_, p)
        for _, r in ipairs(p.records) do
          store.put(r.type, { id = r.id, data = r.data, audience = r.audience, members = r.members })
        end
        return { put = #p.records }
      end,
    },
    ["fixture.touch"] = {
      summary = "Changes a record", access = { "administrator" }, writes = true,
      params = { type = id, id = id, data = any {}, audience = list { of = text {} } },
      run = function(_, p) return store.patch(p.type, p.id, p.data or {}, { audience = p.audience }) end,
    },
    ["fixture.drop"] = {
      summary = "Deletes a record", access = { "administrator" }, writes = true, params = { type = id, id = id },
      run = function(_, p)
        store.delete(p.type, p.id)
        return {}
      end,
    },
    ["fixture.all"] = {
      summary = "All records of a type, as they are", access = { "administrator" }, params = { type = id },
      run = function(_, p) return { items = store.list(p.type, {}) } end,
    },
    ["fixture.types"] = {
      summary = "Record types that plugins declare, with their indexes", access = { "administrator" }, params = {},
      run = function()
        local out = {}
        for _, one in ipairs(plugins.all "service") do
          for name, declared in pairs(one.records or {}) do
            local indexes = {}
            for index, of in pairs(declared.indexes or {}) do indexes[index] = { fields = of.fields, multi = of.multi or false } end
            out[name] = { indexes = indexes, sealed = store.array(declared.sealed or {}) }
          end
        end
        return out
      end,
    },
    ["fixture.invite"] = {
      summary = "An invitation", access = { "administrator" }, writes = true, params = { person = id, name = text {} },
      run = function(_, p) return { code = accounts.invite { person = p.person, name = p.name } } end,
    },
    ["fixture.echo"] = {
      summary = "Gives back what it is given, having written something", access = "signed_in", writes = true, params = { text = text {} },
      run = function(ctx, p)
        store.put("fixture_count", { id = ctx:uuid(), data = { n = 1 } })
        return { text = p.text }
      end,
    },
    ["fixture.forever"] = {
      summary = "A job without end", access = "signed_in", job = true, params = {},
      run = function() while true do end end,
    },

    -- ---- every way in which a method may open a sealed field, and what may go wrong behind it
    ["fixture.open"] = {
      summary = "Opens, writes nothing", access = "signed_in", params = open_params,
      run = function(_, p) return { value = opened(p) } end,
    },
    ["fixture.open_error"] = {
      summary = "Opens, then fails", access = "signed_in", params = open_params,
      run = function(_, p) error(opened(p).text) end,
    },
    ["fixture.open_refuse"] = {
      summary = "Opens, then refuses with what it saw", access = "signed_in", params = open_params,
      run = function(ctx, p) ctx:refuse("seen", { value = opened(p) }) end,
    },
    ["fixture.open_spend"] = {
      summary = "Opens, then never ends", access = "signed_in", params = open_params,
      run = function(_, p)
        opened(p)
        while true do end
      end,
    },
    ["fixture.open_log"] = {
      summary = "Opens, then logs what it saw", access = "signed_in", params = open_params,
      run = function(_, p)
        log.warn("before " .. p.id)
        log.warn(opened(p).text)
        return {}
      end,
    },
    ["fixture.open_write"] = {
      summary = "Opens and writes", access = "signed_in", writes = true, params = open_params,
      run = function(ctx, p)
        local value = opened(p)
        store.put("fixture_count", { id = ctx:uuid(), data = { n = 1 } })
        return { value = value }
      end,
    },
    ["fixture.open_twice_named"] = {
      summary = "Opens, then writes what the store refuses", access = "signed_in", writes = true, params = open_params,
      run = function(_, p)
        opened(p)
        for _ = 1, 2 do store.put("fixture_name", { data = { name = "one" } }) end
        return {}
      end,
    },
    ["fixture.open_race"] = {
      summary = "Opens and counts, many at once", access = "signed_in", writes = true, params = open_params,
      run = function(_, p)
        local value = opened(p)
        local count = store.get("fixture_count", "race")
        if count then
          store.patch("fixture_count", "race", { n = count.data.n + 1 })
        else
          store.put("fixture_count", { id = "race", data = { n = 1 } })
        end
        return { value = value }
      end,
    },
    ["fixture.open_once"] = {
      summary = "Opens when nobody has counted yet", access = "signed_in", writes = true,
      params = open_params,
      run = function(_, p)
        local count = store.get("fixture_count", "once")
        if count then
          store.patch("fixture_count", "once", { n = count.data.n + 1 })
        else
          opened(p)
          store.put("fixture_count", { id = "once", data = { n = 1 } })
        end
        return { opened = not count }
      end,
    },
    ["fixture.open_forever"] = {
      summary = "A job that opens and never ends", access = "signed_in", job = true, params = open_params,
      run = function(ctx, p)
        opened(p)
        ctx:progress(0.5)
        while true do end
      end,
    },
    ["fixture.open_job"] = {
      summary = "Opens in both parts of a job, with progress", access = "signed_in", job = true, params = open_params,
      run = function(ctx, p)
        ctx:progress(0.5, opened(p).text)
        return { seen = true }
      end,
      done = function(_, p)
        opened(p, p.why .. " at its end")
        return { seen = true }
      end,
    },
  },
  on = {
    ["fixture_sentinel.created"] = function(_, change)
      local open = change.record and change.record.data.open
      if open then store.unseal({ type = "fixture_secret", id = open }, "secret", "a reaction") end
    end,
  },
}
