import { describe, expect, it } from '@jest/globals'
import { Long, type Document } from 'bson'
import { judge, type JudgedSession } from './judge.js'
import { message, query } from './wire-client.fixture.js'
import { parseRequest } from './wire.js'

const session = (more: Partial<JudgedSession> = {}): JudgedSession => ({ database: 'own', loggedIn: true, full: false, ...more })
/** The verdict in one word: what is done, or the code of the refusal. */
const verdict = (body: Document, given = session()): string | number => {
  const found = judge(parseRequest(message(body)), given)
  return found.kind === 'refuse' ? found.code : found.kind === 'local' ? found.command : 'forward'
}
const aggregate = (...pipeline: Document[]): Document => ({ aggregate: 'a', pipeline, cursor: {}, $db: 'own' })

describe('what is let through', () => {
  it.each<[string, Document, string | number]>([
    ['a read', { find: 'a', $db: 'own' }, 'forward'],
    ['a write', { insert: 'a', documents: [{}], $db: 'own' }, 'forward'],
    ['a read in another database', { find: 'a', $db: 'other' }, 13],
    ['a read in no database', { find: 'a' }, 13],
    ['a database that is no text', { find: 'a', $db: 1 }, 13],
    ['a database that only begins alike', { find: 'a', $db: 'own\0' }, 13],
    ['an unknown command', { fancy: 1, $db: 'own' }, 59],
    ['a name that is in every object', { __proto__x: 1, $db: 'own' }, 59],
    ['toString', { toString: 1, $db: 'own' }, 59],
    ['a known command spelled otherwise', { FIND: 'a', $db: 'own' }, 59],
    ['code', { eval: 'x()', $db: 'own' }, 59],
    ['mapReduce with an output elsewhere', { mapReduce: 'a', out: { replace: 'x', db: 'other' }, $db: 'own' }, 59],
    ['a collection of the server itself', { find: 'system.users', $db: 'own' }, 73],
    ['a collection in capitals of the server itself', { find: 'System.indexes', $db: 'own' }, 73],
    ['the old way of commands', { find: '$cmd', $db: 'own' }, 73],
    ['a collection that is no text', { find: 1, $db: 'own' }, 73],
    ['a whole database aggregated', { aggregate: 1, pipeline: [], cursor: {}, $db: 'own' }, 73],
    ['a cursor', { getMore: Long.fromInt(1), collection: 'a', $db: 'own' }, 'forward'],
    ['a cursor elsewhere', { getMore: Long.fromInt(1), collection: 'a', $db: 'other' }, 13],
    ['a cursor without its collection', { getMore: Long.fromInt(1), $db: 'own' }, 73],
    ['cursors ended elsewhere', { killCursors: 'a', cursors: [Long.fromInt(1)], $db: 'admin' }, 13],
    ['a transaction', { find: 'a', startTransaction: true, autocommit: false, $db: 'own' }, 20],
    ['the list of databases', { listDatabases: 1, $db: 'admin' }, 'listDatabases'],
    ['administration', { serverStatus: 1, $db: 'admin' }, 13],
    ['the oplog', { find: 'oplog.rs', $db: 'local' }, 13],
    ['a collection renamed', { renameCollection: 'own.a', to: 'own.b', $db: 'admin' }, 'forward'],
    ['a collection renamed away', { renameCollection: 'own.a', to: 'other.b', $db: 'admin' }, 13],
    ['a collection fetched from elsewhere', { renameCollection: 'other.a', to: 'own.b', $db: 'admin' }, 13],
    ['a collection renamed into the books of the server', { renameCollection: 'own.a', to: 'own.system.x', $db: 'admin' }, 13],
    ['a text index', { createIndexes: 'a', indexes: [{ key: { a: 'text' }, name: 'x' }], $db: 'own' }, 67],
    ['an ordinary index', { createIndexes: 'a', indexes: [{ key: { a: 1 }, name: 'x' }], $db: 'own' }, 'forward'],
    ['a greeting', { hello: 1, $db: 'admin' }, 'hello'],
    ['a login', { saslStart: 1, $db: 'own' }, 'saslStart'],
    ['a login by the users of another database', { saslStart: 1, $db: 'admin' }, 18],
    ['nothing', {}, 9],
  ])('%s', (_, body, expected) => expect(verdict(body)).toBe(expected))

  it.each<[string, Document, string | number]>([
    ['no stage', aggregate(), 'forward'],
    ['a lookup at home', aggregate({ $lookup: { from: 'b', localField: 'x', foreignField: 'y', as: 'z' } }), 'forward'],
    ['a lookup elsewhere', aggregate({ $lookup: { from: { db: 'other', coll: 'b' }, as: 'z' } }), 13],
    ['a lookup from nowhere', aggregate({ $lookup: { as: 'z', pipeline: [] } }), 13],
    ['a lookup in the books of the server', aggregate({ $lookup: { from: 'system.namespaces', as: 'z' } }), 13],
    ['a graph elsewhere', aggregate({ $graphLookup: { from: { db: 'other', coll: 'b' } } }), 13],
    [
      'a lookup with a pipeline that goes on elsewhere',
      aggregate({ $lookup: { from: 'b', pipeline: [{ $merge: { into: { db: 'x', coll: 'y' } } }] } }),
      13,
    ],
    ['facets, one of them elsewhere', aggregate({ $facet: { a: [{ $limit: 1 }], b: [{ $out: { db: 'x', coll: 'y' } }] } }), 13],
    ['a facet that is no pipeline', aggregate({ $facet: { a: { $out: 'x' } } }), 9],
    ['an output at home', aggregate({ $out: 'b' }), 'forward'],
    ['an output elsewhere', aggregate({ $out: { db: 'other', coll: 'b' } }), 13],
    ['an output into the books of the server', aggregate({ $out: 'system.indexes' }), 13],
    ['a merge at home', aggregate({ $merge: { into: { db: 'own', coll: 'b' } } }), 'forward'],
    ['a merge by name', aggregate({ $merge: 'b' }), 'forward'],
    ['a merge elsewhere', aggregate({ $merge: { into: { db: 'other', coll: 'b' } } }), 13],
    [
      'a merge with a pipeline elsewhere',
      aggregate({ $merge: { into: 'b', whenMatched: [{ $lookup: { from: { db: 'x' } } }] } }),
      13,
    ],
    ['a stage that is not known here', aggregate({ $unionWith: { coll: 'b' } }), 40324],
    ['two stages in one', aggregate({ $limit: 1, $out: 'x' }), 40323],
    ['a stage without a name', aggregate({}), 40323],
    ['code deep inside', aggregate({ $group: { _id: 1, a: { $sum: { $cond: [true, { $function: { body: '' } }, 1] } } } }), 13],
    ['no pipeline at all', { aggregate: 'a', pipeline: 'x', cursor: {}, $db: 'own' }, 9],
    ['a pipeline where none belongs', { find: 'a', pipeline: [{ $out: { db: 'x', coll: 'y' } }], $db: 'own' }, 13],
  ])('in a pipeline: %s', (_, body, expected) => expect(verdict(body)).toBe(expected))

  it.each<[string, Document, string | number]>([
    ['hello', { hello: 1, $db: 'admin' }, 'hello'],
    ['isMaster', { isMaster: 1, $db: 'admin' }, 'isMaster'],
    ['ping', { ping: 1, $db: 'own' }, 'ping'],
    ['a login', { saslStart: 1, $db: 'own' }, 'saslStart'],
    ['a read', { find: 'a', $db: 'own' }, 13],
    ['buildInfo', { buildInfo: 1, $db: 'admin' }, 13],
    ['listDatabases', { listDatabases: 1, $db: 'admin' }, 13],
    ['a rename', { renameCollection: 'own.a', to: 'own.b', $db: 'admin' }, 13],
    ['an unknown command', { fancy: 1, $db: 'own' }, 13],
  ])('before a login: %s', (_, body, expected) => expect(verdict(body, session({ loggedIn: false }))).toBe(expected))

  it.each<[string, Document, string | number]>([
    ['an insert', { insert: 'a', $db: 'own' }, 14031],
    ['an update', { update: 'a', $db: 'own' }, 14031],
    ['an output', aggregate({ $out: 'b' }), 14031],
    ['a read', { find: 'a', $db: 'own' }, 'forward'],
    ['a delete', { delete: 'a', $db: 'own' }, 'forward'],
    ['a drop', { drop: 'a', $db: 'own' }, 'forward'],
  ])('without room: %s', (_, body, expected) => expect(verdict(body, session({ full: true }))).toBe(expected))

  it('takes the old form of commands for greetings and logins alone', () => {
    const kinds = [{ isMaster: 1 }, { saslStart: 1 }, { find: 'a' }].map(
      (body) => judge(parseRequest(query('own.$cmd', body)), session()).kind,
    )
    expect(kinds).toEqual(['local', 'local', 'refuse'])
    expect(() => parseRequest(query('own.things', {}))).toThrow('commands only')
  })
})
