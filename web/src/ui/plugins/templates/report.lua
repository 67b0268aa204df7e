-- Figures with what they mean in words.
return report {
  id = "@ID@",
  title = { en = "@ID@", uz = "@ID@", ["uz-Cyrl"] = "@ID@", ru = "@ID@" },
  params = { programme = ref "programme" },
  run = function(_, p)
    return { programme = p.programme, pairs = store.count("pair", {}) }
  end,
  tests = {
    ["an empty institution has no pairs"] = function(t)
      t:equal(plugins.get("report", "@ID@").run(t.ctx, {}).pairs, 0)
    end,
  },
}
