import { z } from 'zod'
import { Integer, parseBody, ResourceName, ToOne } from './bodies.js'

const Body = z.strictObject({
  name: ResourceName,
  count: Integer.optional(),
  flag: z.boolean().optional(),
  tags: z.array(z.string()).optional(),
  ports: z.array(z.strictObject({ port: z.number('port must be a number'), use: z.string() })).optional(),
  protocol: z.literal('http1', "Destination protocol must be 'http1'.").optional(),
  route_service_url: z.url('must be a valid URI').optional(),
  relationships: z.strictObject({ space: ToOne }).optional(),
})

describe('a body', () => {
  it('may give numbers as text', () => {
    expect(parseBody(Body, { name: 'n', count: '-2' })).toEqual({ name: 'n', count: -2 })
  })

  it.each<[unknown, string[]]>([
    [undefined, ['Name must be a string']],
    [{ name: '' }, ["Name can't be blank"]],
    [{ name: 'x'.repeat(251) }, ['Name is too long (maximum is 250 characters)']],
    [{ name: 'n', count: '1.5' }, ['Count must be an integer']],
    [{ name: 'n', flag: 'yes' }, ['Flag must be a boolean']],
    [{ name: 'n', tags: {} }, ['Tags must be an array']],
    [{ name: 'n', route_service_url: 'x' }, ['Route service url must be a valid URI']],
    [
      {
        name: 'n',
        ports: [
          { port: 1, use: 'x' },
          { port: 'y', use: 1 },
        ],
      },
      ['Ports[1]: port must be a number', 'Ports[1]: use must be a string'],
    ],
    [{ name: 'n', ports: [1] }, ['Ports[0]: must be an object']],
    [{ name: 'n', protocol: 'spdy' }, ["Destination protocol must be 'http1'."]],
    [{ name: 'n', relationships: {} }, ['Relationships.space must be given']],
    [{ name: 'n', relationships: { space: { data: { guid: 1 } } } }, ['Relationships.space.data.guid must be a string']],
    [{ name: 'n', colour: 1 }, ["Unknown field(s): 'colour'"]],
    [{ name: 'n', relationships: { space: { data: { guid: 'g' } }, more: 1 } }, ["Unknown field(s): 'more' in relationships"]],
    [[], ['The body must be an object']],
    ['text', ['The body must be an object']],
    [{ count: 'x', flag: 1 }, ['Name must be a string', 'Count must be an integer', 'Flag must be a boolean']],
  ])('%j is told as %j', (body, details) => {
    let told: unknown
    try {
      parseBody(Body, body)
    } catch (error) {
      told = error
    }
    expect(told).toMatchObject({ kind: 'UnprocessableEntity', details })
  })
})
