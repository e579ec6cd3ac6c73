import { newInstanceGuid } from './instance-guid.js'

it('has the shape that apps know, and is new each time', () => {
  const guids = Array.from({ length: 1_000 }, newInstanceGuid)
  for (const guid of guids) expect(guid).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){4}$/)
  expect(new Set(guids).size).toBe(1_000)
})
