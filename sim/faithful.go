// What of PostgreSQL the model takes from how it really behaves, and the test on
// real servers that pins it (package postgres unless another is named):
//
//	a kill loses nothing that was acknowledged           TestKillKeepsWhatWasAcknowledged
//	a killed server does not pass for one shut down      TestKillKeepsWhatWasAcknowledged
//	a cancelled wait for a standby is a success, with a  TestCancelledSyncWaitIsASuccess
//	  warning
//	waiters are let go when nobody is named any more     TestSyncWaitEndsWithTheSetting
//	a crash in the wait keeps the commit                 TestCrashInASyncWaitKeepsTheCommit
//	a promotion takes the number after the highest of    TestPromotionCountsItsOwnFiles
//	  the server's own history files
//	placeholders make it take a wanted number            TestCloneFollowPromoteToWantedTimeline
//	two branches can share number, switch and history    TestSameNumberDifferentIdentity
//	pg_rewind believes numbers                           TestRewindBelievesNumbers
//	a rewind that is broken off leaves a directory that  TestRewindKilledMidwayLeavesMarker
//	  must not be started
//	a base backup that is broken off changes nothing     TestFailedCloneChangesNothing
//	a killed standby has what it confirmed, and knows    TestStandbyKeepsWhatItConfirmed
//	  only what it replayed until it streams
//	a stopped receiver gets nothing more                 TestCloneFollowPromoteToWantedTimeline
//	a clean stop writes a last record and sends it       TestFastShutdownWaitsForItsWalsenders
//	  to whoever is connected, however slow
//	the archiver holds the end of a clean stop           TestShutDownWhileTheArchiverHangs
//	a postmaster that is stopped does not end            TestStopByForce
//	no start beside a process that is left               TestNoStartBesideAProcessThatIsLeft
//	a process with SIGKILL pending runs no more code     guard TestDeadlineKillsEveryProcess
//	no room for WAL is a panic, and loses nothing        TestNoRoomForWALIsAPanic
//	a slot holds WAL, advances with its standby          TestSlots
//	without one it is removed, and the standby cannot    TestMessagesReplication
//	  go on
//	past its deadline the kernel drops what the port     guard TestNoAnswerWhileTheGuardStandsStill
//	  sends; a guard's death leaves it so                guard TestTheNextGuardTakesTheFenceOver
//	the position of a stopped server is the end of its   TestStoppedPositions
//	  valid WAL
//
// WAL that was written and not flushed is not modelled: nobody ever sees it, since
// a walsender sends, and a receiver confirms, only what is flushed.
package sim
