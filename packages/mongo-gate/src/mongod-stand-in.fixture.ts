import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { basename, join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { Binary, calculateObjectSize, deserialize, EJSON, type Document } from 'bson'
import { MongoClient } from 'mongodb'
import { ByteBudget, readFrames } from './frames.js'
import { makeVerifier, SCRAM_MECHANISM, ScramConversation, type ScramVerifier } from './scram.js'
import { encodeReply, HEADER_BYTES } from './wire.js'

// Stands in for the programs of a MongoDB image where none is to be had, as far as whoever runs such an image has to do with them:
// a configuration file, a key file, a replica set of one, users and roles, sizes, dumps and restores. Which of the programs it is says
// the name that it is called by. It checks what it is asked for more strictly than the real one does.

interface User {
  readonly name: string
  readonly db: string
  roles: readonly { readonly role: string; readonly db: string }[]
  verifier: ScramVerifier
}
interface State {
  initiated: boolean
  users: User[]
  roles: Record<string, readonly string[]>
  databases: Record<string, Record<string, Document[]>>
}

class CommandError extends Error {
  constructor(
    readonly code: number,
    message: string,
  ) {
    super(message)
  }
}

/** What a role allows; built-in ones first. */
const ACTIONS: Readonly<Record<string, readonly string[]>> = {
  readWrite: ['find', 'insert', 'update', 'remove', 'dropCollection', 'createCollection'],
  dbAdmin: ['dbStats', 'dropCollection', 'dropDatabase'],
}
const NEEDED: Readonly<Record<string, string>> = {
  find: 'find',
  aggregate: 'find',
  insert: 'insert',
  delete: 'remove',
  drop: 'dropCollection',
  dropDatabase: 'dropDatabase',
  dbStats: 'dbStats',
  listCollections: 'find',
}
const BEFORE_LOGIN = ['hello', 'ismaster', 'isMaster', 'saslStart', 'saslContinue', 'endSessions', 'ping']

async function mongod(args: readonly string[]): Promise<void> {
  const config = JSON.parse(readFileSync(args[args.indexOf('--config') + 1] ?? '', 'utf8')) as {
    net: { bindIp: string; port: number }
    storage: { dbPath: string }
    security: { authorization: string; keyFile: string }
    replication: { replSetName: string }
    setParameter: { enableLocalhostAuthBypass: boolean }
  }
  if (config.security.authorization !== 'enabled' || config.setParameter.enableLocalhostAuthBypass) throw new Error('open to all')
  if ((statSync(config.security.keyFile).mode & 0o077) !== 0) throw new Error('permissions on the key file are too open')
  const key = readFileSync(config.security.keyFile, 'utf8').trim()
  if (!/^[A-Za-z0-9+/=]{6,1024}$/.test(key)) throw new Error('invalid key')
  const file = join(config.storage.dbPath, 'data.json')
  const state: State = existsSync(file)
    ? (EJSON.parse(readFileSync(file, 'utf8')) as State)
    : { initiated: false, users: [], roles: {}, databases: {} }
  const server = new Server(state, file, config.replication.replSetName, await makeVerifier(key))
  for (const host of config.net.bindIp.split(',')) {
    const listener = createServer((socket) => {
      socket.on('error', () => socket.destroy())
      server.serve(socket).catch(() => socket.destroy())
    })
    await new Promise<void>((resolve) => listener.listen({ host, port: config.net.port }, resolve))
  }
  process.on('SIGTERM', () => process.exit(0))
}

class Server {
  constructor(
    private readonly state: State,
    private readonly file: string,
    private readonly replicaSet: string,
    private readonly key: ScramVerifier,
  ) {}

  async serve(socket: Socket): Promise<void> {
    const session: { user?: { name: string; db: string }; login?: { db: string; conversation: ScramConversation } } = {}
    const limits = { maxBytes: () => 48_000_000, budget: new ByteBudget(1e8), patienceMs: 60_000, onLate: () => socket.destroy() }
    for await (const frame of readFrames(socket as AsyncIterable<Buffer>, limits)) {
      const { form, command } = decode(frame)
      const answer = await this.run(command, session).catch((error: unknown) => {
        const { code = 8, message } = error as Partial<CommandError>
        return { ok: 0, code, codeName: `Code${code}`, errmsg: message }
      })
      socket.write(encodeReply({ form, requestId: frame.readInt32LE(4) }, answer))
    }
  }

  private async run(
    command: Document,
    session: { user?: { name: string; db: string }; login?: { db: string; conversation: ScramConversation } },
  ): Promise<Document> {
    const [name = ''] = Object.keys(command)
    const db = String(command['$db'])
    if (name === 'saslStart') {
      const find = (user: string) =>
        user === '__system' && db === 'local'
          ? this.key
          : this.state.users.find((one) => one.name === user && one.db === db)?.verifier
      session.login = { db, conversation: new ScramConversation(find, randomBytes(16)) }
      const payload = session.login.conversation.first(textOf(command['payload']))
      return { conversationId: 1, done: false, payload: new Binary(Buffer.from(payload)), ok: 1 }
    }
    if (name === 'saslContinue') {
      try {
        const { user, answer } = session.login!.conversation.final(textOf(command['payload']))
        session.user = { name: user, db: session.login!.db }
        return { conversationId: 1, done: true, payload: new Binary(Buffer.from(answer)), ok: 1 }
      } catch {
        throw new CommandError(18, 'Authentication failed.')
      }
    }
    if (!BEFORE_LOGIN.includes(name)) this.require(name, db, session.user)
    const answer = this.answer(name, db, command)
    if (answer instanceof Promise) return { ...(await answer), ok: 1 }
    return { ...answer, ok: 1 }
  }

  private require(name: string, db: string, user: { name: string; db: string } | undefined): void {
    if (user?.name === '__system' && user.db === 'local') return
    const found = this.state.users.find((one) => one.name === user?.name && one.db === user.db)
    const allowed = found?.roles.flatMap(({ role, db: of }) => (of === db ? (ACTIONS[role] ?? this.state.roles[role] ?? []) : []))
    const action = NEEDED[name]
    if (action === undefined || !allowed?.includes(action))
      throw new CommandError(13, `not authorized on ${db} to execute ${name}`)
  }

  private answer(name: string, db: string, command: Document): Document | Promise<Document> {
    const { state } = this
    const needsInitiation = ['insert', 'delete', 'drop', 'dropDatabase', 'createUser', 'updateUser', 'dropUser', 'createRole']
    if (needsInitiation.includes(name) && !state.initiated) throw new CommandError(10107, 'not primary')
    const collections = (state.databases[db] ??= {})
    const documents = (): Document[] => (collections[String(command[name])] ??= [])
    const user = (): User | undefined => state.users.find((one) => one.name === command[name] && one.db === db)
    switch (name) {
      case 'hello':
      case 'ismaster':
      case 'isMaster':
        return {
          helloOk: true,
          isWritablePrimary: state.initiated,
          ismaster: state.initiated,
          ...(state.initiated ? { setName: this.replicaSet, hosts: ['localhost:1'], me: 'localhost:1' } : { isreplicaset: true }),
          maxBsonObjectSize: 16_777_216,
          maxMessageSizeBytes: 48_000_000,
          maxWriteBatchSize: 100_000,
          logicalSessionTimeoutMinutes: 30,
          minWireVersion: 0,
          maxWireVersion: 21,
          ...(command['saslSupportedMechs'] === undefined ? {} : { saslSupportedMechs: [SCRAM_MECHANISM] }),
        }
      case 'ping':
      case 'endSessions':
      case 'killAllSessions':
        return {}
      case 'replSetGetStatus':
        if (!state.initiated) throw new CommandError(94, 'no replset config has been received')
        return { set: this.replicaSet }
      case 'replSetInitiate':
        if ((command[name] as { _id: string })._id !== this.replicaSet) throw new CommandError(93, 'another replica set name')
        state.initiated = true
        return this.saved({})
      case 'createUser':
        if (user()) throw new CommandError(51_003, 'User already exists')
        return makeVerifier(String(command['pwd'])).then((verifier) => {
          state.users.push({ name: String(command[name]), db, roles: command['roles'] as User['roles'], verifier })
          return this.saved({})
        })
      case 'updateUser': {
        const found = user()
        if (!found) throw new CommandError(11, 'User not found')
        if (command['roles'] !== undefined) found.roles = command['roles'] as User['roles']
        if (command['pwd'] === undefined) return this.saved({})
        return makeVerifier(String(command['pwd'])).then((verifier) => {
          found.verifier = verifier
          return this.saved({})
        })
      }
      case 'dropUser':
        if (!user()) throw new CommandError(11, 'User not found')
        state.users = state.users.filter((one) => one !== user())
        return this.saved({})
      case 'usersInfo':
        return { users: state.users.filter((one) => one.db === db).map((one) => ({ user: one.name, db, roles: one.roles })) }
      case 'createRole':
      case 'updateRole': {
        if (name === 'createRole' && state.roles[String(command[name])]) throw new CommandError(51_002, 'Role already exists')
        const [privilege] = command['privileges'] as { resource: { db: string }; actions: string[] }[]
        if (privilege?.resource.db !== db) throw new CommandError(2, 'another database')
        state.roles[String(command[name])] = privilege.actions
        return this.saved({})
      }
      case 'insert': {
        const added = command['documents'] as Document[]
        documents().push(...added)
        return this.saved({ n: added.length })
      }
      case 'delete':
        collections[String(command[name])] = []
        return this.saved({ n: 1 })
      case 'find':
        return { cursor: { id: 0n, ns: `${db}.${String(command[name])}`, firstBatch: documents() } }
      case 'aggregate':
        return {
          cursor: { id: 0n, ns: `${db}.x`, firstBatch: documents().length > 0 ? [{ _id: 1, n: documents().length }] : [] },
        }
      case 'listCollections':
        return {
          cursor: {
            id: 0n,
            ns: `${db}.x`,
            firstBatch: Object.keys(collections).map((one) => ({ name: one, type: 'collection' })),
          },
        }
      case 'drop':
        Reflect.deleteProperty(collections, String(command[name]))
        return this.saved({})
      case 'dropDatabase':
        Reflect.deleteProperty(state.databases, db)
        return this.saved({})
      case 'dbStats': {
        const bytes = Object.values(collections)
          .flat()
          .reduce((sum, document) => sum + calculateObjectSize(document), 0)
        return { totalSize: bytes + 1_000, totalFreeStorageSize: 1_000 }
      }
      case 'serverStatus':
        return { connections: { current: 1 } }
      default:
        throw new CommandError(59, `no such command: '${name}'`)
    }
  }

  private saved(answer: Document): Document {
    writeFileSync(`${this.file}.new`, EJSON.stringify(this.state))
    renameSync(`${this.file}.new`, this.file)
    return answer
  }
}

const textOf = (payload: unknown): string => Buffer.from((payload as Binary).buffer).toString('utf8')

function decode(frame: Buffer): { form: 'msg' | 'query'; command: Document } {
  if (frame.readInt32LE(12) === 2004) {
    const nameEnd = frame.indexOf(0, HEADER_BYTES + 4)
    const db = frame.toString('latin1', HEADER_BYTES + 4, nameEnd).replace(/\.\$cmd$/, '')
    return { form: 'query', command: { ...deserialize(frame.subarray(nameEnd + 9)), $db: db } }
  }
  const command: Document = {}
  for (let at = HEADER_BYTES + 4; at < frame.length;) {
    const size = frame.readInt32LE(at + 1)
    const end = at + 1 + size
    if (frame[at] === 0) Object.assign(command, deserialize(frame.subarray(at + 1, end), { promoteBuffers: false }))
    else {
      const nameEnd = frame.indexOf(0, at + 5)
      const documents: Document[] = []
      for (let one = nameEnd + 1; one < end; one += frame.readInt32LE(one))
        documents.push(deserialize(frame.subarray(one, one + frame.readInt32LE(one))))
      command[frame.toString('latin1', at + 5, nameEnd)] = documents
    }
    at = end
  }
  return { form: 'msg', command }
}

/** Both tools: log in as they are told, with the password of the configuration file alone. */
async function withTool(
  args: readonly string[],
  work: (client: MongoClient, option: (name: string) => string) => Promise<void>,
): Promise<void> {
  const option = (name: string): string => args.find((arg) => arg.startsWith(`--${name}=`))?.slice(name.length + 3) ?? ''
  if (args.some((arg) => arg.startsWith('--password'))) throw new Error('a password on the command line')
  const { password } = JSON.parse(readFileSync(option('config'), 'utf8')) as { password: string }
  const client = new MongoClient(`mongodb://${option('host')}:${option('port')}/?directConnection=true`, {
    auth: { username: option('username'), password },
    authSource: option('authenticationDatabase'),
  })
  try {
    await work(client, option)
  } finally {
    await client.close()
  }
}

const mongodump = (args: readonly string[]): Promise<void> =>
  withTool(args, async (client, option) => {
    const db = client.db(option('db'))
    const collections: Record<string, Document[]> = {}
    for (const { name } of await db.listCollections().toArray()) collections[name] = await db.collection(name).find().toArray()
    writeFileSync(option('archive'), gzipSync(EJSON.stringify({ db: option('db'), collections })))
  })

const mongorestore = (args: readonly string[]): Promise<void> =>
  withTool(args, async (client, option) => {
    const { db, collections } = EJSON.parse(gunzipSync(readFileSync(option('archive'))).toString()) as {
      db: string
      collections: Record<string, Document[]>
    }
    if (option('nsInclude') !== `${db}.*`) throw new Error('nothing to restore')
    for (const [name, documents] of Object.entries(collections))
      if (documents.length > 0) await client.db(db).collection(name).insertMany(documents)
  })

const programs: Readonly<Record<string, (args: readonly string[]) => Promise<void>>> = { mongod, mongodump, mongorestore }
const called = basename(process.argv[1] ?? '')
programs[called]?.(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`${called}: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(1)
})
