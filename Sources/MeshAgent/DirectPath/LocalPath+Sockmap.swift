// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshLinux
import MeshModel
import MeshSteering

/// Direct connections through a socket map, for pairs of workloads that both ask for it.
extension LocalPath {
    /// Starts the programs with the first workload that asks for them, and finds out which of those that do run a program
    /// that would break.
    ///
    /// - Returns: whether that changes verdicts.
    @discardableResult
    func updateAcceleration() -> Bool {
        guard self.isOn else { return false }
        var isChanged = false
        for (id, local) in self.locals {
            guard let cgroup = local.accelerated else { continue }
            var isAccelerated = self.startSockmap()
            if isAccelerated, let program = UnfitPrograms.first(in: cgroup) {
                isAccelerated = false
                if self.unfit.updateValue(program, forKey: id) != program {
                    self.logger.notice(
                        "a workload is not accelerated, because of a program that a socket map breaks",
                        metadata: ["workload.id": "\(id)", "process.executable.name": "\(program)"])
                }
            } else {
                self.unfit[id] = nil
            }
            if local.end.isAccelerated != isAccelerated {
                self.locals[id]?.end.isAccelerated = isAccelerated
                isChanged = true
            }
        }
        return isChanged
    }

    private func startSockmap() -> Bool {
        if let isReady = self.isSockmapReady { return isReady }
        do throws(SteeringError) {
            try self.steering.startSockmap(cap: self.sockmapCap)
            self.isSockmapReady = true
            return true
        } catch {
            self.isSockmapReady = false
            self.logger.warning(
                "no connection is accelerated: what is read from a socket map could not be counted, so nothing would bound it",
                metadata: ["reason": "\(error)"])
            return false
        }
    }

    /// A reader has left more than the cap allows; the kernel lets nobody wait, so the connection ends.
    func stalled(_ id: DirectConnection.ID) {
        guard self.flows[id]?.ending == nil else { return }
        self.end(
            id, .sockmapStalled,
            "more than sockmapCap (\(self.sockmapCap) bytes) waited unread; a socket map cannot make the sender wait")
    }
}
