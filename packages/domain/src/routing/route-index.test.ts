import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { normalizePath, RouteIndex, type IndexedRoute } from './route-index.js'

const route = (address: string, endpoints = 1): IndexedRoute => {
  const slash = address.indexOf('/')
  const [host, path] = slash === -1 ? [address, ''] : [address.slice(0, slash), address.slice(slash)]
  return { routeGuid: address, host, path, isServed: endpoints > 0 }
}
const indexOf = (...routes: IndexedRoute[]): RouteIndex<IndexedRoute> => {
  const index = new RouteIndex()
  for (const each of routes) index.set(each)
  return index
}

describe('RouteIndex.find', () => {
  it.each<[string, IndexedRoute[], string, string, string | undefined]>([
    ['finds a host', [route('a.example')], 'a.example', '/', 'a.example'],
    ['ignores case in the host', [route('a.example')], 'A.Example', '/', 'a.example'],
    ['ignores case in the path', [route('a.example/Foo')], 'a.example', '/fOO/bar', 'a.example/Foo'],
    ['knows nothing of other hosts', [route('a.example')], 'b.example', '/', undefined],
    ['takes the longest path', [route('a.x'), route('a.x/foo'), route('a.x/foo/bar')], 'a.x', '/foo/bar/baz?q=/', 'a.x/foo/bar'],
    ['matches whole segments only', [route('a.x'), route('a.x/foo')], 'a.x', '/foobar', 'a.x'],
    ['has no match for half a segment', [route('a.x/foo')], 'a.x', '/foobar', undefined],
    ['cuts the query', [route('a.x/foo')], 'a.x', '/foo?bar', 'a.x/foo'],
    ['ignores one trailing slash', [route('a.x/foo')], 'a.x', '/foo/', 'a.x/foo'],
    ['does not decode the path', [route('a.x'), route('a.x/foo')], 'a.x', '/%66oo', 'a.x'],
    ['prefers the exact host', [route('*.x'), route('a.x')], 'a.x', '/', 'a.x'],
    ['lets a wildcard stand for any depth', [route('*.x')], 'c.b.a.x', '/', '*.x'],
    ['prefers the nearer wildcard', [route('*.x'), route('*.a.x')], 'b.a.x', '/', '*.a.x'],
    ['does not let a wildcard match its own domain', [route('*.a.x')], 'a.x', '/', undefined],
    ['falls back on the wildcard when no path of the host matches', [route('a.x/foo'), route('*.x')], 'a.x', '/bar', '*.x'],
    ['passes over routes without endpoints', [route('a.x', 0), route('*.x')], 'a.x', '/', '*.x'],
    ['passes over a longer path without endpoints', [route('a.x'), route('a.x/foo', 0)], 'a.x', '/foo', 'a.x'],
    ['finds nothing when nobody has endpoints', [route('a.x', 0), route('*.x', 0)], 'a.x', '/', undefined],
    ['treats a doubled slash as a segment of its own', [route('a.x/foo')], 'a.x', '//foo', undefined],
    ['serves the asterisk form from the root', [route('a.x')], 'a.x', '*', 'a.x'],
  ])('%s', (_name, routes, host, target, expected) => expect(indexOf(...routes).find(host, target)?.routeGuid).toBe(expected))

  it('agrees with a plain search over all routes', () => {
    const label = fc.constantFrom('a', 'b', 'c')
    const host = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.'))
    const path = fc.array(label, { maxLength: 3 }).map((segments) => segments.map((segment) => `/${segment}`).join(''))
    const anyRoute = fc
      .tuple(fc.boolean(), host, path, fc.nat(1))
      .map(([wild, name, at, count]) => route(`${wild ? '*.' : ''}${name}${at}`, count))
    fc.assert(
      fc.property(fc.array(anyRoute), host, path, (routes, name, at) => {
        const unique = [...new Map(routes.map((each) => [each.routeGuid, each])).values()]
        const best = unique
          .filter((each) => each.isServed)
          .filter((each) => (each.host.startsWith('*') ? name.endsWith(each.host.slice(1)) : each.host === name))
          .filter((each) => `${at}/`.startsWith(`${each.path}/`))
          .sort(
            (one, other) =>
              Number(one.host.startsWith('*')) - Number(other.host.startsWith('*')) ||
              other.host.length - one.host.length ||
              other.path.length - one.path.length,
          )[0]
        expect(indexOf(...unique).find(name, at || '/')?.routeGuid).toBe(best?.routeGuid)
      }),
    )
  })
})

describe('RouteIndex', () => {
  it('moves a route whose host changed', () => {
    const index = indexOf(route('a.x'))
    index.set({ ...route('a.x'), host: 'b.x' })
    expect(index.find('a.x', '/')).toBeUndefined()
    expect(index.find('b.x', '/')?.routeGuid).toBe('a.x')
  })

  it('keeps a route that was made anew when the old one is removed afterwards', () => {
    const index = indexOf(route('a.x'))
    index.set({ ...route('a.x'), routeGuid: 'new' })
    index.delete('a.x')
    expect(index.find('a.x', '/')?.routeGuid).toBe('new')
    expect(index.size).toBe(1)
  })
})

describe('normalizePath', () => {
  it.each([
    ['/', ''],
    ['/Foo/?a=/b/', '/foo'],
    ['', ''],
    ['?x', ''],
  ])('%s → %s', (target, path) => expect(normalizePath(target)).toBe(path))
})
