import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { anApp, Bloom } from './bloom.fixture.js'

let bloom: Bloom
beforeEach(async () => {
  bloom = new Bloom()
  await bloom.open()
  await bloom.login()
  bloom.list('/v3/apps', [anApp()])
})
afterEach(() => bloom.close())

const EXPLANATION = {
  guid: 'b',
  state: 'STAGED',
  app: { name: 'shop' },
  seconds: 0.2,
  attempts: 1,
  waits_for: null,
  settings: { stack: 'cflinuxfs4', buildpacks: [], memory_in_mb: 1024, disk_in_mb: 4096 },
  reused: true,
  droplet: {
    guid: 'd',
    checksum: 'sha256:aa',
    components: 3,
    inputs: {
      bits: { content: 'sha256:bb' },
      buildpacks: [{ name: 'nodejs_buildpack', version: '1.0.0', checksum: 'sha256:cc' }],
      runtimes: [{ name: 'node', version: '22.1.0', checksum: 'sha512-dd' }],
      stack: { name: 'cflinuxfs4', image: 'x', digest: 'sha256:ee' },
      lock_files: [{ path: 'app/package-lock.json', checksum: 'sha256:ff' }],
    },
  },
  failure: null,
}

describe('explain build', () => {
  it('tells what a droplet was made of, and that it was there already', async () => {
    bloom.list('/v3/builds', [{ guid: 'b' }])
    bloom.answer('GET /bloomery/v1/builds/b/explanation', 200, EXPLANATION)
    const { code, stdout } = await bloom.run('explain build shop')
    expect(code).toBe(0)
    for (const text of [
      'STAGED after 0.2 s',
      'which an earlier build of the same inputs had made',
      'node 22.1.0 sha512-dd',
      'app/package-lock.json sha256:ff',
    ])
      expect(stdout).toContain(text)
  })
  it('tells why it failed, what to do, and what it waits for', async () => {
    bloom.list('/v3/builds', [{ guid: 'b' }])
    bloom.answer('GET /bloomery/v1/builds/b/explanation', 200, {
      ...EXPLANATION,
      state: 'FAILED',
      droplet: null,
      waits_for: '2 builds are under way',
      failure: {
        id: 'StagingError',
        cause: 'out-of-memory',
        sentence: 'Staging error: too little',
        next_step: 'Ask for more.',
        last_lines: ['one', 'two'],
      },
    })
    const { stdout } = await bloom.run('explain build shop')
    expect(stdout).toContain('StagingError: Staging error: too little (out-of-memory)\nWhat to do: Ask for more.')
    expect(stdout).toContain('   two')
    expect(stdout).toContain('Waits: 2 builds are under way')
    expect((await bloom.run('explain weather shop')).stderr).toContain('bloom explain build')
    bloom.answer('POST /bloomery/v1/builds/b/actions/cancel', 202, {})
    expect((await bloom.run('cancel-build shop')).stdout).toMatch(/OK\n$/)
  })
})

describe('components, bom and gc', () => {
  it('lists the apps that have a component', async () => {
    bloom.answer('GET /bloomery/v1/components', 200, {
      pagination: { total_results: 2 },
      resources: [
        {
          component: { name: 'lodash', version: '4.17.20', source: 'app/package-lock.json' },
          droplet: { guid: 'd', current: true },
          app: { name: 'shop' },
          space: { name: 'dev' },
          organization: { name: 'acme' },
        },
      ],
    })
    const { stdout } = await bloom.run(['components', 'lodash', '--version', '<4.17.21'])
    expect(stdout).toMatch(/acme +dev +shop +lodash +4\.17\.20 +current/)
    expect(stdout).toContain('and 1 more')
    expect(bloom.cloud.requests.some((request) => request.includes('version=%3C4.17.21'))).toBe(true)
  })
  it('prints the bill of materials of the current droplet', async () => {
    bloom.answer('GET /v3/apps/shop-guid/droplets/current', 200, { guid: 'd' })
    bloom.answer('GET /bloomery/v1/droplets/d/bom', 200, { bomFormat: 'CycloneDX' })
    expect((await bloom.run('bom shop')).stdout).toContain('"bomFormat": "CycloneDX"')
  })
  it('lists what it would delete, and deletes only when told to', async () => {
    const listed = {
      total: { blobs: 1, leftovers: 1, bytes: 3072 },
      resources: [
        { key: 'droplets/d', bytes: 2048, reason: 'old', app: { name: 'shop' }, machine: null },
        { key: 'runtimes/node-1', bytes: 1024, reason: 'unused', app: null, machine: 'm1' },
      ],
    }
    bloom.answer('GET /bloomery/v1/garbage', 200, listed)
    bloom.answer('POST /bloomery/v1/garbage/actions/collect', 200, listed)
    expect((await bloom.run('gc --dry-run')).stdout).toMatch(
      /droplets\/d +shop +old\n1K +runtimes\/node-1 +m1 +unused[^]*Would delete 1 blob and 1 leftover on machines, 3K/,
    )
    expect(bloom.cloud.requests.some((request) => request.startsWith('POST'))).toBe(false)
    expect((await bloom.run('gc')).stdout).toMatch(/Deleted 1 blob and 1 leftover on machines, 3K\.\n.*within seconds/)
  })
})

describe('stack rollout', () => {
  it('restarts started apps one after the other, and ends at the first that does not come up', async () => {
    bloom.list('/v3/stacks', [{ guid: 's', name: 'cflinuxfs4', default: true }])
    bloom.list('/v3/apps', [anApp('one'), anApp('idle', 'STOPPED'), anApp('two'), anApp('three')])
    expect((await bloom.run('stack rollout --dry-run')).stdout).toBe(
      'one\ntwo\nthree\n\nWould restart 3 apps on stack cflinuxfs4.\n',
    )
    let deployed = 0
    bloom.cloud.on('POST /v3/deployments', (_request, response) => {
      deployed += 1
      response
        .writeHead(201, { 'content-type': 'application/json' })
        .end(JSON.stringify({ guid: `d${deployed}`, status: { value: 'ACTIVE', reason: 'DEPLOYING' } }))
    })
    bloom.answer('GET /v3/deployments/d1', 200, { guid: 'd1', status: { value: 'FINALIZED', reason: 'DEPLOYED' } })
    bloom.answer('GET /v3/deployments/d2', 200, { guid: 'd2', status: { value: 'FINALIZED', reason: 'CANCELED' } })
    const { code, stdout, stderr } = await bloom.run('stack rollout cflinuxfs4')
    expect(code).toBe(1)
    expect(stdout).toMatch(/\[1\/3\] one\.\.\.\n\[2\/3\] two\.\.\.\n[^]*FAILED/)
    expect(stderr).toContain('two did not come up, 1 more app is as before')
    expect(deployed).toBe(2)
    expect((await bloom.run('stack list')).stderr).toContain('bloom stack rollout')
  })
})

describe('explain route', () => {
  const found = {
    outcome: 'no-instance',
    status: 404,
    sentence: 'The route shop.test leads to shop, of which no instance takes requests now (0 crashed).',
    next_step: 'See why: cf app shop',
    route: { url: 'shop.test', protocol: 'http', options: { loadbalancing: 'hash' }, route_service_url: null },
    considered: [{ url: 'shop.test/cart', reason: 'its path does not match' }],
    destinations: [
      {
        app: { name: 'shop', state: 'STARTED' },
        process_type: 'web',
        weight: null,
        protocol: null,
        instances: [{ index: 0, state: 'crashed', routable: false, cell: 'cell-1', detail: 'exit status 1' }],
      },
    ],
    routers: [{ id: 'main-w0', applied_revision: '3', silent: true }],
  }

  it('tells where a request would go, and why it does not', async () => {
    bloom.answer('GET /bloomery/v1/routes/explanation', 200, found)
    const { code, stdout } = await bloom.run('explain route shop.test/x')
    expect(code).toBe(0)
    for (const text of [
      '404: The route shop.test leads to shop',
      'What to do: See why: cf app shop',
      'loadbalancing=hash',
      'exit status 1',
      'its path does not match',
      'main-w0',
    ])
      expect(stdout).toContain(text)
    expect(JSON.parse((await bloom.run('explain route shop.test --json')).stdout)).toEqual(found)
    expect((await bloom.run('explain weather here')).stderr).toMatch(/builds and routes/)
  })
})
