import { BSON_TYPE, elementsOf, stringOf, type BsonElement } from './bson-structure.js'
import { isOwnCollection, isOwnNamespace } from './namespaces.js'
import { findRefusal } from './pipeline.js'
import type { WireRequest } from './wire.js'

/** Commands that the gate answers by itself. */
export type LocalCommand =
  | 'hello'
  | 'isMaster'
  | 'ping'
  | 'saslStart'
  | 'saslContinue'
  | 'logout'
  | 'buildInfo'
  | 'endSessions'
  | 'connectionStatus'
  | 'whatsmyuri'
  | 'listDatabases'

/** What becomes of a request. `refuse` answers with MongoDB's own code. */
export type Verdict =
  | { readonly kind: 'local'; readonly command: LocalCommand }
  | { readonly kind: 'forward'; readonly writes: boolean }
  | { readonly kind: 'refuse'; readonly code: number; readonly codeName: string; readonly message: string }

export interface JudgedSession {
  /** The one database that the server behind is for. */
  readonly database: string
  readonly loggedIn: boolean
  /** No room is left: what would take more is refused. */
  readonly full: boolean
}

/** Before a login. MongoDB's names are spelled one way, some of them two ways; nothing else is taken for them. */
const OPEN: Readonly<Record<string, LocalCommand>> = {
  hello: 'hello',
  isMaster: 'isMaster',
  ismaster: 'isMaster',
  ping: 'ping',
  saslStart: 'saslStart',
  saslContinue: 'saslContinue',
}
const ANSWERED_HERE: Readonly<Record<string, LocalCommand>> = {
  ...OPEN,
  logout: 'logout',
  buildInfo: 'buildInfo',
  buildinfo: 'buildInfo',
  endSessions: 'endSessions',
  connectionStatus: 'connectionStatus',
  whatsmyuri: 'whatsmyuri',
}

type Rule = { readonly names: 'collection' | 'cursor' | 'nothing'; readonly writes: boolean }
const reads = (names: Rule['names']): Rule => ({ names, writes: false })
/** Takes more room, so it is refused when there is none. */
const writes = (names: Rule['names']): Rule => ({ names, writes: true })

const FORWARDED: Readonly<Record<string, Rule>> = {
  find: reads('collection'),
  count: reads('collection'),
  distinct: reads('collection'),
  aggregate: reads('collection'),
  listIndexes: reads('collection'),
  collStats: reads('collection'),
  collstats: reads('collection'),
  validate: reads('collection'),
  delete: reads('collection'),
  drop: reads('collection'),
  dropIndexes: reads('collection'),
  insert: writes('collection'),
  update: writes('collection'),
  findAndModify: writes('collection'),
  findandmodify: writes('collection'),
  create: writes('collection'),
  createIndexes: writes('collection'),
  getMore: reads('cursor'),
  killCursors: reads('collection'),
  listCollections: reads('nothing'),
  dbStats: reads('nothing'),
  dbstats: reads('nothing'),
  dropDatabase: reads('nothing'),
}

const refuse = (code: number, codeName: string, message: string): Verdict => ({ kind: 'refuse', code, codeName, message })
const unauthorized = (message: string): Verdict => refuse(13, 'Unauthorized', message)

/** Decides on a request by a list of what is allowed; whatever is not on it is refused. */
export function judge(request: WireRequest, session: JudgedSession): Verdict {
  const [command] = request.fields
  if (!command) return refuse(9, 'FailedToParse', 'a message has no command')
  const { name } = command
  const { database } = request
  if (database === undefined) return unauthorized(`the command ${name} names no database ($db)`)
  const open = own(OPEN, name)
  if (open) {
    const isLogin = open === 'saslStart' || open === 'saslContinue'
    return !isLogin || database === session.database ? { kind: 'local', command: open } : foreignLogin(database, session)
  }
  if (!session.loggedIn) return unauthorized(`command ${name} requires authentication`)
  if (request.form === 'query') return refuse(352, 'UnsupportedOpQueryCommand', `Unsupported OP_QUERY command: ${name}`)
  if (request.fields.some((field) => field.name === 'startTransaction' || field.name === 'autocommit'))
    return refuse(20, 'IllegalOperation', 'This development server has no transactions.')
  const local = own(ANSWERED_HERE, name)
  if (local) return { kind: 'local', command: local }
  if (name === 'listDatabases' && database === 'admin') return { kind: 'local', command: 'listDatabases' }
  if (name === 'renameCollection') return judgeRename(request, session)
  const rule = own(FORWARDED, name)
  if (database !== session.database) return unauthorized(`not authorized on ${database} to execute command ${name}`)
  if (!rule)
    return refuse(
      59,
      'CommandNotFound',
      `no such command: '${name}'; this development server does not have it, or it is not for its users`,
    )
  return judgeForwarded(request, command, rule, session)
}

const own = <T>(table: Readonly<Record<string, T>>, name: string): T | undefined =>
  Object.hasOwn(table, name) ? table[name] : undefined

const foreignLogin = (database: string, session: JudgedSession): Verdict =>
  refuse(
    18,
    'AuthenticationFailed',
    `Authentication failed: users are of the database '${session.database}', not of '${database}' (authSource).`,
  )

function judgeForwarded(request: WireRequest, command: BsonElement, rule: Rule, session: JudgedSession): Verdict {
  const { bytes, fields } = request
  const field = (name: string): BsonElement | undefined => fields.find((each) => each.name === name)
  const collection = rule.names === 'cursor' ? field('collection') : command
  if (rule.names !== 'nothing' && !isOwnCollection(stringOf(bytes, collection)))
    return refuse(73, 'InvalidNamespace', `the command ${command.name} names no collection that is yours to use`)
  if (rule.names === 'cursor' && command.type !== BSON_TYPE.int64)
    return refuse(14, 'TypeMismatch', 'the number of a cursor is a 64-bit integer')
  // Wherever it stands: the server may look at it even where we would not.
  const pipeline = field('pipeline')
  const refusal = pipeline && findRefusal(bytes, pipeline, session.database)
  if (refusal) return refuse(refusal.code, refusal.code === 13 ? 'Unauthorized' : `Location${refusal.code}`, refusal.message)
  const texts = command.name === 'createIndexes' && hasTextIndex(bytes, field('indexes'))
  if (texts) return refuse(67, 'CannotCreateIndex', 'This development server has no text search.')
  const grows = rule.writes || (pipeline !== undefined && endsInWriting(bytes, pipeline))
  if (grows && session.full)
    return refuse(
      14031,
      'OutOfDiskSpace',
      'The service instance is full: delete data, or change to a plan with more disk (cf update-service -p).',
    )
  return { kind: 'forward', writes: grows }
}

function judgeRename({ bytes, fields, database }: WireRequest, session: JudgedSession): Verdict {
  const [from, to] = [fields[0], fields.find(({ name }) => name === 'to')].map((each) => stringOf(bytes, each))
  if (database !== 'admin') return unauthorized('renameCollection may only be run against the admin database')
  if (!isOwnNamespace(from, session.database) || !isOwnNamespace(to, session.database))
    return unauthorized(`not authorized: renameCollection may use collections of the database '${session.database}' only`)
  return { kind: 'forward', writes: false }
}

function endsInWriting(bytes: Buffer, pipeline: BsonElement): boolean {
  const last = elementsOf(bytes, pipeline.at).at(-1)
  const [operation] = last ? elementsOf(bytes, last.at) : []
  return operation?.name === '$out' || operation?.name === '$merge'
}

/** The server would take such an index and find nothing by it. */
function hasTextIndex(bytes: Buffer, indexes: BsonElement | undefined): boolean {
  if (indexes?.type !== BSON_TYPE.array) return false
  return elementsOf(bytes, indexes.at)
    .filter(({ type }) => type === BSON_TYPE.document)
    .flatMap(({ at }) => elementsOf(bytes, at))
    .filter(({ name, type }) => name === 'key' && type === BSON_TYPE.document)
    .flatMap(({ at }) => elementsOf(bytes, at))
    .some((key) => stringOf(bytes, key) === 'text')
}
