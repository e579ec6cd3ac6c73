import { describe, expect, it } from '@jest/globals'
import { OpenRequests } from './open-requests.js'

describe('OpenRequests', () => {
  it('tells when a withdrawn instance has answered its last request', () => {
    const open = new OpenRequests()
    let told = 0
    open.onAnswered(() => told++)
    const first = open.begin('a')
    const second = open.begin('a')
    const other = open.begin('b')
    open.withdraw('a')
    open.withdraw('idle')
    expect(open.answering).toEqual(['a'])
    first()
    first()
    expect([open.answering, told]).toEqual([['a'], 0])
    second()
    expect([open.answering, told]).toEqual([[], 1])
    other()
    expect(told).toBe(1)
  })
})
