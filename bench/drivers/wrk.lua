-- The prompts' requests one after the other, for wrk: what the server and a client in C can do.
-- wrk -t1 -c256 -d5s -s wrk.lua URL -- BODIES      (BODIES: one request body a line)

local bodies, at = {}, 0

function init(arguments)
  for line in io.lines(arguments[1]) do
    bodies[#bodies + 1] = wrk.format("POST", nil, {["Content-Type"] = "application/json"}, line)
  end
end

function request()
  at = at % #bodies + 1
  return bodies[at]
end
