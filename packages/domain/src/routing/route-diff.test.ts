import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { diffRoutes } from './route-diff.js'

const anyRoutes = fc.uniqueArray(
  fc.record({ routeGuid: fc.constantFrom<string>('a', 'b', 'c', 'd'), host: fc.constantFrom('x', 'y') }),
  {
    selector: ({ routeGuid }) => routeGuid,
  },
)

describe('diffRoutes', () => {
  it('leads from any table to any other, and touches nothing that is equal', () =>
    fc.assert(
      fc.property(anyRoutes, anyRoutes, (current, wanted) => {
        const { upsert, remove } = diffRoutes(current, wanted)
        const table = new Map(current.map((route) => [route.routeGuid, route]))
        for (const route of upsert) table.set(route.routeGuid, route)
        for (const guid of remove) table.delete(guid)
        expect([...table.values()].sort(byGuid)).toEqual([...wanted].sort(byGuid))
        expect(diffRoutes(wanted, wanted)).toEqual({ upsert: [], remove: [] })
      }),
    ))

  it.each<[object, object, boolean]>([
    [{ options: {} }, { options: {} }, true],
    [{ options: { a: '1' } }, { options: {} }, false],
    [{ options: {} }, { options: { a: '1' } }, false],
    [{ list: [{ port: 1 }] }, { list: [{ port: 1 }] }, true],
    [{ list: [{ port: 1 }] }, { list: [{ port: 2 }] }, false],
    [{ list: [] }, { list: [{}] }, false],
    [{ weight: undefined }, {}, true],
    [{ weight: 1 }, {}, false],
  ])('%j and %j are equal: %s', (one, other, equal) =>
    expect(diffRoutes<{ routeGuid: string }>([{ ...one, routeGuid: 'r' }], [{ ...other, routeGuid: 'r' }]).upsert).toHaveLength(
      equal ? 0 : 1,
    ),
  )
})

const byGuid = (one: { routeGuid: string }, other: { routeGuid: string }): number => one.routeGuid.localeCompare(other.routeGuid)
