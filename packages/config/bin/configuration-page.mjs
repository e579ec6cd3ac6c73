#!/usr/bin/env node
// Writes docs/configuration.md from the schemas by which the roles read their environment, and from docker-compose.yml.
//   node packages/config/bin/configuration-page.mjs            writes the page
//   node packages/config/bin/configuration-page.mjs --check    fails if the page is not what would be written
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { format, resolveConfig } from 'prettier'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const page = join(root, 'docs/configuration.md')
const ROLES = {
  launcher: ['apps/bloomery/src/settings.ts', 'LauncherEnv'],
  api: ['apps/api/src/config.ts', 'ApiEnv'],
  stager: ['apps/stager/src/config.ts', 'StagerEnv'],
  scheduler: ['apps/scheduler/src/main.ts', 'SchedulerEnv'],
  cell: ['apps/cell/src/config.ts', 'CellEnv'],
  router: ['apps/router/src/config.ts', 'RouterEnv'],
  logs: ['apps/logs/src/config.ts', 'LogsEnv'],
  broker: ['apps/broker/src/config.ts', 'BrokerEnv'],
}
// Read by libraries, before any schema.
const EVERYWHERE = [
  { name: 'BLOOMERY_LOG_LEVEL', fallback: '`info`', text: '`trace`, `debug`, `info`, `warn`, `error`, `fatal` or `silent`.' },
]
/** Between programs of the launcher, or of tests: nobody else sets them. */
const PRIVATE =
  /^BLOOMERY_(API|SAMPLE_FOLDER|APP_GRACE_SECONDS|COMPOSE_FOLDER|TEST(_\w+)?|DIAL_TIMEOUT|RESPONSE_TIMEOUT|INSTALLATION|BROKER_URL|CLIENT_SETTINGS)$/

const declarations = new Map()
const roleFiles = Object.values(ROLES).map(([path]) => path)
const shared = readdirSync(join(root, 'packages/config/src')).filter((name) => /^(?!.*\.test\.ts$).*\.ts$/.test(name))
for (const path of [...shared.map((name) => `packages/config/src/${name}`), ...roleFiles]) {
  const source = ts.createSourceFile(path, readFileSync(join(root, path), 'utf8'), ts.ScriptTarget.Latest, true)
  source.forEachChild((node) => {
    if (!ts.isVariableStatement(node)) return
    for (const one of node.declarationList.declarations)
      if (one.initializer && /Env$/.test(one.name.getText())) declarations.set(one.name.getText(), one.initializer)
  })
}

/** The settings of a schema expression: z.object({…}), X.shape, X.extend(…), X.pick({…}), a name, or any of these with methods after it. */
function settingsOf(node) {
  if (ts.isIdentifier(node)) return declarations.has(node.text) ? settingsOf(declarations.get(node.text)) : []
  if (ts.isObjectLiteralExpression(node)) return node.properties.flatMap(settingsOfProperty)
  if (ts.isPropertyAccessExpression(node)) return settingsOf(node.expression)
  if (!ts.isCallExpression(node) || !ts.isPropertyAccessExpression(node.expression)) return []
  const { expression: target, name } = node.expression
  const [argument] = node.arguments
  if (name.text === 'object') return settingsOf(argument)
  const base = settingsOf(target)
  if (name.text === 'extend') return [...base, ...settingsOf(argument)]
  if (name.text !== 'pick') return base
  const picked = argument.properties.map((one) => one.name.getText())
  return base.filter((one) => picked.includes(one.name))
}

function settingsOfProperty(property) {
  if (ts.isSpreadAssignment(property)) return settingsOf(property.expression)
  const calls = new Map()
  for (let node = property.initializer; ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression);) {
    const name = node.expression.name.text
    // Outermost first: what comes later in the chain is what holds.
    if (!calls.has(name)) calls.set(name, node.arguments)
    node = node.expression.expression
  }
  const value = calls.get('default')?.[0]
  const literal = value && (ts.isStringLiteral(value) ? value.text : computed(value))
  const comment = ts.getJSDocCommentsAndTags(property).map((one) => ts.getTextOfJSDocComment(one.comment) ?? '')
  const described = calls.get('describe')?.[0]
  const values = calls.get('enum')?.[0]?.elements?.map((one) => `\`${one.text}\``)
  const text = [comment.at(-1) || described?.text || '', ...(values ? [`One of ${values.join(', ')}.`] : [])]
    .filter(Boolean)
    .map((sentence) => (/[.:]`?$/.test(sentence) ? sentence : `${sentence}.`))
    .join(' ')
  const fallback = value !== undefined ? (literal === '' ? 'empty' : `\`${literal}\``) : calls.has('optional') ? '–' : 'required'
  return [{ name: property.name.getText(), fallback, text }]
}

/** `10_240`, `8 * MiB` and the like, as numbers. */
function computed(node) {
  const source = node.getText().replaceAll('_', '').replace(/MiB/gi, '1048576')
  return /^[-\d\s*]+$/.test(source) ? source.split('*').reduce((product, factor) => product * Number(factor), 1) : node.getText()
}

function tableOfRoles() {
  const rows = new Map()
  for (const [role, [, schema]] of Object.entries(ROLES))
    for (const setting of settingsOf(declarations.get(schema))) {
      const row = rows.get(setting.name) ?? { name: setting.name, texts: new Map(), roles: new Map() }
      row.roles.set(role, setting.fallback)
      if (setting.text) row.texts.set(role, setting.text)
      rows.set(setting.name, row)
    }
  const mute = [...rows.values()].filter(({ texts }) => texts.size === 0).map(({ name }) => name)
  if (mute.length > 0) throw new Error(`Say in a comment what these set: ${mute.join(', ')}`)
  const all = Object.keys(ROLES).length
  for (const one of EVERYWHERE)
    rows.set(one.name, {
      name: one.name,
      texts: new Map([['', one.text]]),
      roles: new Map(Object.keys(ROLES).map((role) => [role, one.fallback])),
    })
  return [...rows.values()]
    .sort((a, b) => a.name.localeCompare(b.name))
    .map(({ name, texts, roles }) => {
      const fallbacks = [...new Set([...roles].filter(([role]) => role !== 'launcher').map(([, one]) => one))]
      const differs = roles.has('launcher') && fallbacks.length > 0 && roles.get('launcher') !== fallbacks[0]
      const fallback = differs ? `\`npm start\`: –; roles: ${fallbacks[0]}` : (fallbacks[0] ?? roles.get('launcher'))
      const who = roles.size === all ? 'all' : [...roles.keys()].join(', ')
      // What the roles say of the same setting differs in detail at most: the longest says it all.
      const [longest] = [...texts].filter(([role]) => role !== 'launcher').sort(([, a], [, b]) => b.length - a.length)
      const sentences = [longest?.[1], texts.get('launcher')].flatMap((one) => one?.split(/(?<=\.) /) ?? [])
      const text = [...new Set(sentences)].join(' ')
      return { name, line: `| \`${name}\` | ${fallback} | ${who} | ${text.replaceAll('|', '\\|').replaceAll('\n', ' ')} |` }
    })
}

const COMPOSE = {
  COMPOSE_PROJECT_NAME: "Name of the project; part of the volumes' names",
  BLOOMERY_INTERNAL_ADDRESS:
    'Address at which this machine offers the internal listeners, and the ports of instances, to other machines',
  BLOOMERY_API_ADDRESS:
    "Address of the api's public listener (plain HTTP, for routers); a private one where routers run on other machines",
  BLOOMERY_API_PORT: "Port of the api's public listener",
  BLOOMERY_API_INTERNAL_PORT: "Port of the api's internal listener",
  BLOOMERY_SCHEDULER_PORT: "Port of the scheduler's listener",
  BLOOMERY_LOGS_PORT: "Port of the log store's listener",
  BLOOMERY_POSTGRES_PORT: "Port on this machine's loopback at which the service broker reaches Postgres",
  BLOOMERY_BROKER_ADDRESS: 'Address of this machine at which the api reaches the service broker; that of the engine’s own bridge',
  BLOOMERY_BROKER_PORT: "Port of the service broker's listener",
  BLOOMERY_IMAGE: 'The image of all roles',
  BLOOMERY_NODE_IMAGE: 'What that image is built from',
  BLOOMERY_APT_OPTIONS: 'Options for apt-get while it is built',
  BLOOMERY_POSTGRES_IMAGE: 'Image of Postgres',
  BLOOMERY_REDIS_IMAGE: 'Image of Redis',
  BLOOMERY_ENGINE_SOCKET: "The engine's socket on this machine",
  BLOOMERY_MACHINE_FOLDER: 'Where the volume of cell and stager lies on this machine; the same path inside and outside',
  BLOOMERY_BLOBS_FOLDER: 'Where the volume of the blob store lies on this machine',
  BLOOMERY_STAGER_BLOBSTORE_URL: "The blob store by the machine's own path, or the same as BLOBSTORE_URL for s3",
}

function tableOfCompose(known) {
  const text = readFileSync(join(root, 'docker-compose.yml'), 'utf8')
  const fallbacks = new Map(
    [...text.matchAll(/\$\{([A-Z_]+)(?::([-?])([^}]*))?\}/g)].map(([, name, kind, value]) => [name, [kind, value]]),
  )
  fallbacks.set('COMPOSE_PROJECT_NAME', ['-', 'bloomery'])
  fallbacks.set('BLOOMERY_BLOBS_FOLDER', ['?', ''])
  const unknown = [...fallbacks.keys()].filter((name) => !(name in COMPOSE) && !known.has(name))
  if (unknown.length > 0) throw new Error(`docker-compose.yml reads settings that nobody describes: ${unknown.join(', ')}`)
  return Object.entries(COMPOSE).map(([name, what]) => {
    const [kind, value] = fallbacks.get(name) ?? []
    return `| \`${name}\` | ${kind === '-' ? (value ? `\`${value}\`` : 'empty') : 'set by `npm run compose:init`'} | ${what}. |`
  })
}

/** Whatever the sources name that no table has. */
function forgotten(known) {
  const names = new Set()
  const walk = (folder) => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (/^(node_modules|dist|generated|\.turbo)$/.test(entry.name)) continue
      if (entry.isDirectory()) walk(join(folder, entry.name))
      else if (/\.(ts|mjs)$/.test(entry.name) && !/\.(test|fixture)\.ts$/.test(entry.name))
        for (const [name] of readFileSync(join(folder, entry.name), 'utf8').matchAll(/\bBLOOMERY_[A-Z_]*[A-Z]\b/g))
          names.add(name)
    }
  }
  for (const folder of ['apps', 'packages']) walk(join(root, folder))
  return [...names].filter((name) => !known.has(name) && !known.has(name.replace(/_FILE$/, '')) && !PRIVATE.test(name))
}

const roles = tableOfRoles()
const known = new Set(roles.map(({ name }) => name))
const compose = tableOfCompose(known)
const left = forgotten(new Set([...known, ...Object.keys(COMPOSE)]))
if (left.length > 0) throw new Error(`Read by the code, but in no schema and no table: ${left.join(', ')}`)

const text = await format(
  `# Configuration

Everything is set by environment variables, read once when a role starts; a value that cannot be used stops it with a message that
names the variable. An empty value counts as not set. \`NAME_FILE\` stands in for any \`NAME\`: a file that holds the value, such as a
mounted secret. \`npm start\` sets for the roles whatever they need to find each other; of these variables set only those of the
launcher, and any that tune a role: they are handed on.

This page is written by \`npm run docs:configuration\` from the schemas in the code; a test compares it.

## Variables

| variable | default | read by | what it sets |
| --- | --- | --- | --- |
${roles.map(({ line }) => line).join('\n')}

## docker-compose.yml

These are read by the file itself, from \`.env\` or the environment. \`npm run compose:init\` writes \`.env\` and keeps what is in it;
\`BLOOMERY_…\` variables set while it runs are written down. What is tuned for a role (above) and is not named in the file belongs
into a \`docker-compose.override.yml\`.

| variable | default | what it sets |
| --- | --- | --- |
${compose.join('\n')}
`,
  { ...(await resolveConfig(page)), parser: 'markdown' },
)
if (!process.argv.includes('--check')) writeFileSync(page, text)
else if (readFileSync(page, 'utf8') !== text) {
  console.error('docs/configuration.md is not what the code says; run "npm run docs:configuration".')
  process.exit(1)
}
