#!/usr/bin/env node
// `npm run broker:register`: makes the bundled service broker known to the running platform of BLOOMERY_HOME, or tells it of a changed
// catalog. Safe to call again. `npm start` does the same by itself, once; this also brings back one that was deleted.
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { spawnSync } from 'node:child_process'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const home = resolve(process.env.BLOOMERY_HOME ?? join(root, '.bloomery'))
const ports = join(home, 'run/ports.json')
if (!existsSync(ports)) {
  console.error(`No platform has been started in ${home}. Run npm start, or set BLOOMERY_HOME.`)
  process.exit(1)
}
const { BLOOMERY_BIND: bind = '127.0.0.1', BLOOMERY_HTTP_PORT: port = '8080' } = process.env
const host = bind === '0.0.0.0' ? '127.0.0.1' : bind === '::' ? '[::1]' : bind
const { status } = spawnSync(process.execPath, [join(root, 'apps/bloomery/dist/register-broker.entry.js'), '--again'], {
  stdio: 'inherit',
  env: {
    BLOOMERY_API: `http://${host}:${port}`,
    BLOOMERY_ADMIN_PASSWORD: readFileSync(join(home, 'admin-password'), 'utf8').trim(),
    BLOOMERY_BROKER_URL: `http://127.0.0.1:${JSON.parse(readFileSync(ports, 'utf8')).broker}`,
    BLOOMERY_BROKER_PASSWORD_FILE: join(home, 'broker-password'),
    ...process.env,
    BLOOMERY_HOME: home,
  },
})
process.exit(status ?? 1)
