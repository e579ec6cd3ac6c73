import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { parse } from 'yaml'
import { z } from 'zod'
import { REPOSITORY } from '../platform.js'

const Service = z.looseObject({
  image: z.string().optional(),
  user: z.string().optional(),
  privileged: z.literal(false).optional(),
  network_mode: z.string().optional(),
  restart: z.string(),
  environment: z.record(z.string(), z.union([z.string(), z.number()])).default({}),
  secrets: z.array(z.string()).default([]),
  volumes: z.array(z.string()).default([]),
  ports: z.array(z.string()).default([]),
  logging: z.object({ driver: z.string(), options: z.record(z.string(), z.string()) }),
  healthcheck: z.looseObject({ test: z.array(z.string()).min(2) }),
})
const text = readFileSync(join(REPOSITORY, 'docker-compose.yml'), 'utf8')
const file = z
  .object({
    services: z.record(z.string(), Service),
    secrets: z.record(z.string(), z.object({ file: z.string().startsWith('.bloomery-compose/secrets/') })),
    volumes: z.record(z.string(), z.null()),
  })
  .parse(parse(text, { merge: true }))
const services = Object.entries(file.services)
const service = (name: string): z.output<typeof Service> => {
  const found = file.services[name]
  if (!found) throw new Error(`there is no service ${name}`)
  return found
}

describe('docker-compose.yml', () => {
  it('has every role and both stores, each with a health check, a restart policy and bounded logs', () => {
    expect(Object.keys(file.services).sort()).toEqual([
      'api',
      'broker',
      'cell',
      'logs',
      'postgres',
      'redis',
      'router',
      'scheduler',
      'stager',
    ])
    for (const [, each] of services) {
      expect(each.restart).toBe('unless-stopped')
      expect(each.logging.options['max-size']).toBeDefined()
    }
  })

  it('holds no secret: what is secret comes from files that are made on the machine', () => {
    for (const [name, each] of services)
      for (const [key, value] of Object.entries(each.environment))
        if (/PASSWORD|TOKEN|SECRET|KEYRING|DATABASE_URL|REDIS_URL/.test(key))
          expect(`${name} ${key}=${String(value)}`).toMatch(/=\/(run\/secrets|var\/lib\/bloomery-tokens)(\/|$)/)
    for (const [, each] of services) for (const secret of each.secrets) expect(file.secrets).toHaveProperty([secret])
    expect(text).not.toMatch(/:\/\/[^/\s$]+:[^/\s$]+@/)
  })

  it('gives cells and routers neither database nor keyring, and each role its own token alone', () => {
    for (const name of ['cell', 'router', 'logs']) {
      expect(service(name).secrets).toEqual([])
      expect(Object.keys(service(name).environment)).not.toEqual(expect.arrayContaining(['DATABASE_URL_FILE']))
    }
    for (const name of ['scheduler', 'stager', 'logs', 'cell', 'router']) {
      const tokens = service(name).volumes.filter((volume) => volume.startsWith('token-'))
      expect(tokens).toEqual([`token-${name}:/var/lib/bloomery-tokens/${name}:ro`])
    }
  })

  it('publishes nothing beyond loopback unless told to, and only cell, router and broker are on the network of the machine', () => {
    for (const [, each] of services)
      for (const port of each.ports) expect(port).toMatch(/^(\$\{BLOOMERY_(API|INTERNAL)_ADDRESS:-127\.0\.0\.1\}|127\.0\.0\.1):/)
    expect(services.filter(([, each]) => each.network_mode === 'host').map(([name]) => name)).toEqual([
      'cell',
      'router',
      'broker',
    ])
    expect(service('router').environment['BLOOMERY_BIND']).toBe('${BLOOMERY_BIND:-127.0.0.1}')
  })

  it('runs as root only what must: the stager, the cell and the broker, which hold the socket of the engine', () => {
    const holders = services.filter(([, each]) => each.volumes.some((volume) => volume.includes('docker.sock')))
    expect(holders.map(([name]) => name)).toEqual(['stager', 'cell', 'broker'])
    for (const name of ['api', 'scheduler', 'logs', 'router']) expect(service(name).user).toBe('1000:1000')
  })

  it('declares each volume that it mounts', () => {
    const named = services.flatMap(([, each]) => each.volumes.filter((volume) => /^[a-z]/.test(volume)))
    expect(new Set(named.map((volume) => volume.split(':')[0]))).toEqual(new Set(Object.keys(file.volumes)))
  })
})
