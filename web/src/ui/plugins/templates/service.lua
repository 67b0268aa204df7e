-- What this service is for.
return service {
  id = "@ID@",
  title = { en = "@ID@", uz = "@ID@", ["uz-Cyrl"] = "@ID@", ru = "@ID@" },
  records = {
    @WORD@_note = {
      key = "uuid",
      fields = { person = ref "person" { required = true }, text = text { required = true, max_length = 1000 } },
      indexes = { by_person = { fields = { "person" } } },
    },
  },
  methods = {
    ["@WORD@.add"] = {
      summary = "Keeps a note of one's own",
      access = "signed_in", writes = true,
      params = { text = text { required = true, max_length = 1000 } },
      run = function(ctx, p)
        local data = { person = ctx.person, text = p.text }
        return store.put("@WORD@_note", { data = data, audience = { "person:" .. ctx.person } })
      end,
    },
  },
  tests = {
    ["a note is seen by its writer only"] = function(t)
      local note = t:call("@WORD@.add", { text = "hello" }, { person = "p1", roles = { "student" } })
      t:equal(note.data.text, "hello")
      t:equal(note.audience, { "person:p1" })
    end,
  },
}
