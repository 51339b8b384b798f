// SPDX-License-Identifier: Apache-2.0
import HeapModule

/// Answers queries: the mesh's names by itself, all others by asking resolvers and remembering what they said.
///
///     ask ── mesh name ─────────────────────────────► answer
///      │  ── remembered ────────────────────────────► answer
///      │  ── asked already ── waits ──┐
///      └─► attempt ── answered ───────┴─────────────► answer
///             │ unanswered, unreachable, or it fails
///             └─► next of the plan … none left ─────► what is remembered beyond its time, else SERVFAIL
///
/// First in the plan is the resolver that the workload meant, then the node's. It owns no socket and no clock: each event
/// returns what its caller must do. Times are nanoseconds of the monotonic clock.
package struct NameResolver {
    package struct Settings: Sendable, Equatable {
        /// Remembered answers; 0: none.
        package var cacheSize = 10_000
        /// Seconds that they are kept beyond their time.
        package var staleLifetime: UInt32 = 3_600
        /// Queries of one workload, and of all, that wait for an answer.
        package var workloadLimit = 256
        package var limit = 4_096

        package init() {}
    }

    package static let second: UInt64 = 1_000_000_000
    /// The whole answer; applications wait for five seconds.
    static let patience = 9 * Self.second / 2
    /// A resolver that the workload chose may know what others do not, so it has more time than they.
    static let originalPatience = 2 * Self.second
    static let upstreamPatience = Self.second
    private static let maximumAttempts = 6

    package var zone: MeshZone
    /// The node's own resolvers.
    package var upstreams: [Upstream] = []
    package private(set) var health = UpstreamHealth()
    package private(set) var cache: AnswerCache
    private let settings: Settings
    private let random: () -> UInt16

    private var resolutions: [UInt64: Resolution] = [:]
    private var pending: [Resolution.Key: UInt64] = [:]
    private var attempts: [UInt64: Resolution.Attempt] = [:]
    private var timers = Heap<Resolution.Timer>()
    private var waiting: [UInt32: Int] = [:]
    package private(set) var waitingCount = 0
    /// Numbers of resolutions and attempts, none used twice.
    private var lastNumber: UInt64 = 0

    /// - Parameter random: unpredictable, for the ids of queries.
    package init(zone: MeshZone, settings: Settings, random: @escaping () -> UInt16) {
        self.zone = zone
        self.settings = settings
        self.random = random
        self.cache = AnswerCache(capacity: settings.cacheSize, staleLifetime: settings.staleLifetime)
    }

    // MARK: Clients

    package mutating func ask(
        _ bytes: [UInt8], from client: DNSClient, by asker: Asker, now: UInt64
    ) -> [DNSAction] {
        let query: DNSQuery
        do throws(DNSQuery.Fault) {
            query = try DNSQuery(bytes)
        } catch {
            guard case .refused(let code) = error, let answer = DNSQuery.refusal(of: bytes, code) else { return [] }
            let report = QueryReport(
                workload: asker.workload, type: nil, code: code, isEmpty: false, source: .none, began: now)
            return [.answer(client, answer, report)]
        }
        let waiter = Resolution.Waiter(client: client, query: query, workload: asker.workload, began: now)
        if query.isPlain, let answer = self.zone.answer(query.question) {
            let (bytes, code) = self.zone.message(answer, to: query, limit: Self.limit(waiter))
            return [.answer(client, bytes, Self.report(waiter, code, isEmpty: answer.isEmpty, .local))]
        }
        return query.isVerbatim ? self.relay(waiter, asker) : self.resolve(waiter, asker)
    }

    /// Passes a message on to whom it was meant for, and nobody else.
    private mutating func relay(_ waiter: Resolution.Waiter, _ asker: Asker) -> [DNSAction] {
        guard let resolver = asker.resolver else {
            // Without RD the node's resolvers say what they know; anything else would be done to the wrong server.
            guard waiter.query.flags.opcode == 0 else { return [Self.refuse(waiter, .notImplemented)] }
            return self.start(waiter, key: nil, original: nil, plan: self.upstreams)
        }
        return self.start(waiter, key: nil, original: resolver, plan: [resolver])
    }

    private mutating func resolve(_ waiter: Resolution.Waiter, _ asker: Asker) -> [DNSAction] {
        let now = waiter.began
        let original = asker.resolver
        let isDown = original.map { self.health.isDown($0, now: now) } ?? true
        let plan = self.plan(original, now: now)
        guard !waiter.query.hasOptions else { return self.start(waiter, key: nil, original: original, plan: plan) }
        let question = AnswerCache.Key(waiter.query, of: isDown ? nil : original)
        if let found = self.cache.lookup(question, now: now) { return [Self.answer(waiter, found, .cache)] }
        let key = Resolution.Key(
            question: AnswerCache.Key(waiter.query, of: original), isStream: !waiter.client.isDatagram)
        if let number = self.pending[key] {
            guard self.admit(waiter) else { return [Self.refuse(waiter, .serverFailure, isLimited: true)] }
            self.resolutions[number]?.waiters.append(waiter)
            return []
        }
        return self.start(waiter, key: key, original: original, plan: plan)
    }

    /// Whom to ask in which order: those that do not answer lately come last, and whoever can be asked is asked twice.
    private func plan(_ original: Upstream?, now: UInt64) -> [Upstream] {
        var all = self.upstreams
        if let original, !all.contains(original) { all.insert(original, at: 0) }
        if let original, let place = all.firstIndex(of: original), place > 0 { all.swapAt(0, place) }
        let (down, up) = (all.filter { self.health.isDown($0, now: now) }, all)
        let first = up.filter { !down.contains($0) }
        return Array((first + down + (first.isEmpty ? all : first)).prefix(Self.maximumAttempts))
    }

    private mutating func start(
        _ waiter: Resolution.Waiter, key: Resolution.Key?, original: Upstream?, plan: [Upstream]
    ) -> [DNSAction] {
        guard !plan.isEmpty else { return [Self.refuse(waiter, .serverFailure)] }
        guard self.admit(waiter) else { return [Self.refuse(waiter, .serverFailure, isLimited: true)] }
        self.lastNumber += 1
        let number = self.lastNumber
        self.resolutions[number] = Resolution(
            query: waiter.query, key: key, original: original, isStream: !waiter.client.isDatagram,
            deadline: waiter.began + Self.patience, plan: plan, waiters: [waiter])
        if let key { self.pending[key] = number }
        return self.advance(number, now: waiter.began)
    }

    private mutating func admit(_ waiter: Resolution.Waiter) -> Bool {
        let count = self.waiting[waiter.workload] ?? 0
        guard count < self.settings.workloadLimit, self.waitingCount < self.settings.limit else { return false }
        self.waiting[waiter.workload] = count + 1
        self.waitingCount += 1
        return true
    }

    // MARK: Resolvers

    /// Asks the next of the plan; without one there is nothing to be had.
    private mutating func advance(_ number: UInt64, now: UInt64) -> [DNSAction] {
        guard let resolution = self.resolutions[number] else { return [] }
        guard resolution.position < resolution.plan.count, now < resolution.deadline else {
            return self.giveUp(number, now: now)
        }
        let upstream = resolution.plan[resolution.position]
        self.resolutions[number]?.position += 1
        let patience = upstream == resolution.original ? Self.originalPatience : Self.upstreamPatience
        return [self.attempt(number, upstream, until: min(resolution.deadline, now + patience), now: now)]
    }

    private mutating func attempt(_ number: UInt64, _ upstream: Upstream, until: UInt64, now: UInt64) -> DNSAction {
        self.lastNumber += 1
        let attempt = self.lastNumber
        let hasEDNS = !self.health.isPlain(upstream, now: now)
        var bytes: [UInt8] = []
        var id: UInt16 = 0
        if let query = self.resolutions[number]?.query {
            id = query.isVerbatim ? query.id : self.random()
            bytes = query.isVerbatim ? query.bytes : query.forwarded(id: id, hasEDNS: hasEDNS)
        }
        self.attempts[attempt] = Resolution.Attempt(resolution: number, upstream: upstream, id: id, hasEDNS: hasEDNS)
        self.resolutions[number]?.attempts.append(attempt)
        self.resolutions[number]?.attemptDeadline = until
        self.timers.insert(Resolution.Timer(time: until, resolution: number))
        return .open(attempt: attempt, upstream, isStream: self.resolutions[number]?.isStream ?? false, bytes)
    }

    /// A message has come for an attempt.
    package mutating func received(_ bytes: [UInt8], attempt number: UInt64, now: UInt64) -> [DNSAction] {
        guard let attempt = self.attempts[number], let resolution = self.resolutions[attempt.resolution] else {
            return []
        }
        if resolution.query.isVerbatim { return self.relayed(bytes, attempt, resolution) }
        guard let reader = MessageReader(bytes), reader.id == attempt.id, let response = DNSResponse(bytes),
            response.question.map({ $0.isSame(as: resolution.query.question) })
                ?? (response.code == .formatError || response.code == .notImplemented)
        else { return [.failure(attempt.upstream, .mismatch)] }
        self.health.answered(attempt.upstream)
        switch response.code {
        case .noError, .nameError:
            return self.finish(attempt.resolution, response, of: attempt.upstream, now: now)
        case .formatError, .notImplemented, .badVersion:
            guard attempt.hasEDNS, !response.hasEDNS || response.code == .badVersion else {
                return self.fail(number, attempt, .unsupported, response, now: now)
            }
            // It may be older than EDNS: once more without.
            self.health.refusedEDNS(attempt.upstream, now: now)
            let until = min(resolution.deadline, now + Self.upstreamPatience)
            return [self.close(number), self.attempt(attempt.resolution, attempt.upstream, until: until, now: now)]
        case .serverFailure: return self.fail(number, attempt, .serverFailure, response, now: now)
        default: return self.fail(number, attempt, .refused, response, now: now)
        }
    }

    /// The attempt's socket could not be made, or says that nobody is there.
    package mutating func failed(attempt number: UInt64, now: UInt64) -> [DNSAction] {
        guard let attempt = self.attempts[number] else { return [] }
        self.health.failed(attempt.upstream, isCertain: true, now: now)
        return self.fail(number, attempt, .network, nil, now: now)
    }

    private mutating func fail(
        _ number: UInt64, _ attempt: Resolution.Attempt, _ failure: UpstreamFailure, _ response: DNSResponse?,
        now: UInt64
    ) -> [DNSAction] {
        let isLatest = self.resolutions[attempt.resolution]?.attempts.last == number
        if let response { self.resolutions[attempt.resolution]?.failure = response }
        let actions = [self.close(number), .failure(attempt.upstream, failure)]
        // An earlier one was given up already.
        return isLatest ? actions + self.advance(attempt.resolution, now: now) : actions
    }

    private mutating func close(_ number: UInt64) -> DNSAction {
        if let attempt = self.attempts.removeValue(forKey: number) {
            self.resolutions[attempt.resolution]?.attempts.removeAll { $0 == number }
        }
        return .close(attempt: number)
    }

    // MARK: Time

    /// When ``expire(now:)`` has something to do; nil: nothing waits.
    package var nextDeadline: UInt64? { self.timers.min?.time }

    package mutating func expire(now: UInt64) -> [DNSAction] {
        var actions: [DNSAction] = []
        while let timer = self.timers.min, timer.time <= now {
            self.timers.removeMin()
            // A later attempt has a timer of its own.
            guard let resolution = self.resolutions[timer.resolution], resolution.attemptDeadline <= now else {
                continue
            }
            if let number = resolution.attempts.last, let attempt = self.attempts[number] {
                self.health.failed(attempt.upstream, isCertain: false, now: now)
                actions.append(.failure(attempt.upstream, .timeout))
            }
            actions += self.advance(timer.resolution, now: now)
        }
        return actions
    }

    // MARK: Answers

    private mutating func finish(
        _ number: UInt64, _ response: DNSResponse, of upstream: Upstream, now: UInt64
    ) -> [DNSAction] {
        guard let resolution = self.resolutions[number] else { return [] }
        if resolution.key != nil {
            let owner = upstream == resolution.original ? upstream : nil
            self.cache.store(response, for: AnswerCache.Key(resolution.query, of: owner), now: now)
        }
        return self.end(number) { Self.answer($0, (response, 0), .upstream) }
    }

    private mutating func relayed(
        _ bytes: [UInt8], _ attempt: Resolution.Attempt, _ resolution: Resolution
    ) -> [DNSAction] {
        guard let reader = MessageReader(bytes), reader.id == attempt.id, reader.flags.contains(.response) else {
            return [.failure(attempt.upstream, .mismatch)]
        }
        self.health.answered(attempt.upstream)
        let code = ResponseCode(rawValue: reader.flags.code)
        return self.end(attempt.resolution) { waiter in
            .answer(waiter.client, bytes, Self.report(waiter, code, isEmpty: reader.answerCount == 0, .upstream))
        }
    }

    private mutating func giveUp(_ number: UInt64, now: UInt64) -> [DNSAction] {
        guard let resolution = self.resolutions[number] else { return [] }
        if resolution.key != nil {
            for owner in [resolution.original, nil] {
                let key = AnswerCache.Key(resolution.query, of: owner)
                guard let stale = self.cache.lookup(key, now: now, isStale: true) else { continue }
                return self.end(number) { Self.answer($0, stale, .stale) }
            }
        }
        if let failure = resolution.failure { return self.end(number) { Self.answer($0, (failure, 0), .upstream) } }
        return self.end(number) { Self.refuse($0, .serverFailure) }
    }

    private mutating func end(_ number: UInt64, _ answer: (Resolution.Waiter) -> DNSAction) -> [DNSAction] {
        guard let resolution = self.resolutions.removeValue(forKey: number) else { return [] }
        if let key = resolution.key { self.pending[key] = nil }
        for attempt in resolution.attempts { self.attempts[attempt] = nil }
        for waiter in resolution.waiters {
            self.waitingCount -= 1
            let count = (self.waiting[waiter.workload] ?? 1) - 1
            self.waiting[waiter.workload] = count > 0 ? count : nil
        }
        return resolution.attempts.map { .close(attempt: $0) } + resolution.waiters.map(answer)
    }

    // MARK: Messages

    private static func limit(_ waiter: Resolution.Waiter) -> Int {
        waiter.client.isDatagram ? waiter.query.datagramLimit : Int(UInt16.max)
    }

    /// What is given beyond its time is asked for again soon (RFC 8767 §4).
    private static let staleTime: UInt32 = 30

    private static func answer(
        _ waiter: Resolution.Waiter, _ found: (response: DNSResponse, age: UInt32), _ source: QueryReport.Source
    ) -> DNSAction {
        let message = found.response.message(
            for: waiter.query, age: source == .stale ? 0 : found.age, limit: Self.limit(waiter),
            atMost: source == .stale ? Self.staleTime : nil)
        let isEmpty = found.response.isNegative && !found.response.isNameError
        return .answer(
            waiter.client, message, Self.report(waiter, found.response.code, isEmpty: isEmpty, source))
    }

    private static func refuse(
        _ waiter: Resolution.Waiter, _ code: ResponseCode, isLimited: Bool = false
    ) -> DNSAction {
        var report = Self.report(waiter, code, isEmpty: false, .none)
        report.isLimited = isLimited
        return .answer(waiter.client, waiter.query.refusal(code), report)
    }

    private static func report(
        _ waiter: Resolution.Waiter, _ code: ResponseCode, isEmpty: Bool, _ source: QueryReport.Source
    ) -> QueryReport {
        QueryReport(
            workload: waiter.workload, type: waiter.query.question.type, code: code, isEmpty: isEmpty, source: source,
            began: waiter.began)
    }
}

extension MeshZone.Answer {
    fileprivate var isEmpty: Bool {
        switch self {
        case .noData: true
        case .records, .nameError, .unavailable: false
        }
    }
}

extension DNSQuery {
    /// The query as a resolver gets it: nodemeshd's own id and limits, the client's question and wishes.
    fileprivate func forwarded(id: UInt16, hasEDNS: Bool) -> [UInt8] {
        let wishes: MessageFlags = [.recursionDesired, .checkingDisabled, .authenticData]
        var writer = MessageWriter(id: id, flags: self.flags.intersection(wishes), question: self.question)
        if hasEDNS {
            var edns = EDNS(size: EDNS.safeSize, wantsSecurity: self.edns?.wantsSecurity ?? false)
            edns.options = self.edns?.options ?? []
            writer.add(edns)
        }
        return writer.bytes
    }
}
